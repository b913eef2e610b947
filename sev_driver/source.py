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
"""Where facts are read from: this machine, or what was read of another one.

Everything that is read goes through :meth:`Source.ask`, so that it can be written
down, and read again elsewhere by the same code.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol


class Source(Protocol):
    def ask(self, what: str, read: Callable[[], bytes]) -> bytes:
        """Return what is there.

        :param what: a name for it, such as ``files/proc/cpuinfo``; stable, for it is
            the name in an archive.
        :param read: reads it here.
        :raises OSError: it is not there, or cannot be read.
        :raises DetectionError: as ``read`` does.
        """


class Status(NamedTuple):
    """Who may do what with a file; ``kind`` as in the first column of ``ls -l``."""

    kind: str
    mode: int
    owner: str
    group: str

    def __str__(self) -> str:
        return f"{self.owner}:{self.group} {self.mode:04o}"


def decoded(text: bytes) -> list[Any]:
    """Return a list that was written down.

    :raises OSError: it is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise OSError(0, "what was written down of it makes no sense")
    return value
