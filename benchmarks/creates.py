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
"""Servers in two clouds that differ in the driver alone, made in turn."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from benchmarks.samples import DRIVERS
from devcloud.testing import CloudFixture

#: Room for all that are made at once.
NOVA = {"quota": {"instances": "-1", "cores": "-1", "ram": "-1"}}
SLOTS = 40
TIMEOUT = 180


class Site(CloudFixture):
    """A cloud with one of the drivers, and what its servers are made of."""

    def __init__(self, state: Path, who: str) -> None:
        super().__init__(state, nova=NOVA, max_asid=SLOTS)
        # Debian 12's libvirt refuses every UEFI guest of stock Nova 34 otherwise.
        self.settings = dataclasses.replace(
            self.settings, driver=DRIVERS[who], mend_loader=who == "stock"
        )

    def _setUp(self) -> None:
        super()._setUp()
        encrypted = self.make_flavor("encrypted", hw__mem_encryption="true")
        uefi = {"hw_firmware_type": "uefi", "hw_machine_type": "q35"}
        self.kinds = {
            "encrypted": (encrypted, self.make_image("uefi", **uefi)),
            "plain": (self.make_flavor("plain"), self.make_image("bios")),
        }

    def create(self, kind: str, count: int) -> float:
        """Seconds until all are ACTIVE, asked for at once; they are gone after it."""
        flavor, image = self.kinds[kind]
        compute = self.connection.compute
        before = time.perf_counter()
        for number in range(count):
            compute.create_server(
                name=f"{kind}-{number}",
                flavor_id=flavor,
                image_id=image,
                networks="none",
            )
        self._wait("ACTIVE", count)
        seconds = time.perf_counter() - before
        for server in compute.servers(details=False):
            compute.delete_server(server)
        self._wait("", 0)
        return seconds

    def _wait(self, status: str, count: int) -> None:
        deadline = time.monotonic() + TIMEOUT
        while True:
            found: list[Any] = list(self.connection.compute.servers())
            if len(found) == count and all(s.status == status for s in found):
                return
            failed = [s for s in found if s.status == "ERROR"]
            if failed or time.monotonic() > deadline:
                raise RuntimeError(f"not all are {status}: {failed or found}")
            time.sleep(0.1)
