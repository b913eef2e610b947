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
"""The platform the wrapper imitates, as its host wrote it down."""

from __future__ import annotations

import json
from typing import NamedTuple


class Platform(NamedTuple):
    """What the hardware has and what the kernel made of it."""

    sev: bool = True
    sev_es: bool = False
    sev_snp: bool = False
    min_asid: int = 1
    max_asid: int = 15
    cbitpos: int = 51
    reduced_phys_bits: int = 1
    real_qemu: str = "/usr/bin/qemu-system-x86_64"
    # Paths as seen within the host's mount namespace.
    slots: str = "slots"
    monitors: str = "monitors"
    device: str = "/dev/null"  # as which the private /dev has /dev/sev
    control_group: str = ""  # "" where this host shows none

    @classmethod
    def read(cls, path: str) -> Platform:
        with open(path, encoding="utf-8") as file:
            return cls(**json.load(file))

    def to_json(self) -> str:
        return json.dumps(self._asdict(), indent=2) + "\n"
