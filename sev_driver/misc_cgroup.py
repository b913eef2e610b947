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
"""The kernel's misc control group: ASIDs by name, as capacity or as use."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sev_driver.exceptions import MalformedMisc

#: Plain SEV's ASIDs, and those that SEV-ES and SEV-SNP share. One is the other's
#: beginning: compare whole words.
SEV = "sev"
SEV_ES = "sev_es"

_LINE = re.compile(r"([!-~]{1,64}) (max|\d{1,19})", re.ASCII)


def parse(text: str) -> Mapping[str, int]:
    """Return what ``misc.capacity`` or ``misc.current`` says, by key.

    A key that is not there says nothing: the kernel leaves out a zero capacity,
    and a kernel without SEV, or one that is itself a guest, has none of them.

    :raises MalformedMisc: a line is not a key and a number.
    """
    found: dict[str, int] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise MalformedMisc(
                f"misc control group: {line[:40]!r} is not a key and a number"
            )
        if match[2] != "max":
            found[match[1]] = int(match[2])
    return found
