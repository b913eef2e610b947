# SPDX-License-Identifier: Apache-2.0
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
    launches: str = ""  # where the secure processor keeps what it launched
    monitors: str = "monitors"
    device: str = "/dev/null"  # as which the private /dev has /dev/sev
    control_group: str = ""  # "" where this host shows none
    other_firmware: str = ""  # what is launched instead of what was asked for

    @classmethod
    def read(cls, path: str) -> Platform:
        with open(path, encoding="utf-8") as file:
            return cls(**json.load(file))

    def to_json(self) -> str:
        return json.dumps(self._asdict(), indent=2) + "\n"
