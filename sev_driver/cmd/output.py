# SPDX-License-Identifier: Apache-2.0

"""What the scripts share: how they print, write a file, and say what is missing.

It imports nothing but Python's own modules.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib.metadata
import io
import os
import pathlib
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NoReturn

#: What the scripts need on a machine without Nova and libvirt.
REQUIREMENTS = "lxml os-traits oslo.config openstacksdk"

#: Nova's limit for encoded user data.
_USER_DATA_CHARACTERS = 65535

#: Longer lines read badly.
_WIDTH = 100


@contextlib.contextmanager
def required_modules(program: str) -> Iterator[None]:
    """End in one line where a module cannot be imported that a script needs."""
    try:
        yield
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        if not name or name == "sev_driver":
            raise
        if sys.argv[1:] == ["--version"]:
            # Who asks for help must be able to say which version it is.
            print(f"{program} {version()}")
            raise SystemExit(0) from None
        refuse(
            program,
            f"the Python module {name} is not installed for {sys.executable}. Run "
            f"{program} with the Python that runs nova-compute; on a machine without "
            f"Nova: {sys.executable} -m pip install {REQUIREMENTS}",
        )


def refuse(program: str, why: str) -> NoReturn:
    """End with status 2 and one line that says why."""
    note(program, why)
    raise SystemExit(2)


def note(program: str, text: str) -> None:
    """Print a line to the standard error, which may be closed."""
    if sys.stderr is not None:
        print(f"{program}: {text}", file=sys.stderr)


def version() -> str:
    """Return the version of sev_driver that is installed for this Python."""
    try:
        return importlib.metadata.version("sev_driver")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def new_parser(
    program: str, description: str, epilog: str, *, allow_abbrev: bool = False
) -> argparse.ArgumentParser:
    """Return the parser of a script, with ``--version``."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=allow_abbrev,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"{program} {version()}",
        help="print the version of sev_driver and exit",
    )
    return parser


def add_command(
    commands: Any, name: str, title: str, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Return the parser of one of a script's commands.

    :param commands: what the script's parser returned for its commands.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=title,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def width() -> int:
    """Return how long a line may be."""
    return min(shutil.get_terminal_size().columns, _WIDTH)


def shows_colour() -> bool:
    """Return whether the standard output shows colours."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    return os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def progress(program: str, text: str) -> None:
    """Say to a person who waits what takes time; programs see nothing of it."""
    if sys.stderr is not None and sys.stderr.isatty():
        note(program, text)


def say(program: str, text: str) -> None:
    """Print a report, whatever the terminal can show.

    A reader that goes away, such as ``head``, is no error; a full disk is.
    """
    if sys.stdout is None:
        refuse(program, "the output cannot be written: standard output is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal without the symbols still has the words beside them.
        sys.stdout.reconfigure(errors="replace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Python would report the same error once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            refuse(program, f"the output cannot be written: {error.strerror}")


def write(path: str, data: bytes) -> None:
    """Write a file that only its owner may read.

    A file that was there stays as it was until the new one is complete.

    :raises OSError: it cannot be written.
    """
    if not _is_file_or_free(path):
        # A link, or a device such as /dev/stdout, must not be replaced.
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


def read_user_data(path: str) -> bytes:
    """Return the user data of a server that a file has.

    :raises ValueError: it cannot be read, or is longer than Nova takes.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_USER_DATA_CHARACTERS)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if len(base64.b64encode(data)) > _USER_DATA_CHARACTERS:
        raise ValueError(
            f"{path} is too long for user data: Nova takes {_USER_DATA_CHARACTERS} "
            f"characters of base64"
        )
    return data


def _is_file_or_free(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return True


def _folder(path: str) -> pathlib.Path:
    return pathlib.Path(path).parent
