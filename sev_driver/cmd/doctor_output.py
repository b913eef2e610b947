#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
"""How sev-doctor and its commands print, and write a file."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import stat
import sys
import tempfile


def say(text: str) -> None:
    """Print what was found, whatever the terminal can show and whoever reads."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal without the symbols still has the words beside them.
        sys.stdout.reconfigure(errors="replace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough; Python would tell of it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write(path: str, data: bytes) -> None:
    """Write a file that is of no concern to other users of this machine.

    What was there before stays whole until the new one is, and who had it open reads
    nothing of the new one.

    :raises OSError: it cannot be written.
    """
    if not _is_file_or_free(path):
        # A link, or a device such as /dev/stdout: that is not to be taken away.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)
        return
    # mkstemp gives it the mode 0600.
    number, unfinished = tempfile.mkstemp(".part", ".sev-doctor-", _folder(path))
    try:
        with open(number, "wb") as file:
            file.write(data)
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


def _is_file_or_free(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return True


def _folder(path: str) -> pathlib.Path:
    return pathlib.Path(path).parent
