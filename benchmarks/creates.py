# SPDX-License-Identifier: Apache-2.0
"""Servers in two clouds that differ in the driver alone, made in turn."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openstack

from benchmarks.samples import DRIVERS
from devcloud.testing import CloudFixture

#: Room for all that are made at once.
NOVA = {"quota": {"instances": "-1", "cores": "-1", "ram": "-1"}}
SLOTS = 128
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
        # libvirtd may have been restarted just now.
        self._wait(self.offers_slots, "no host offers slots")
        before = time.perf_counter()
        for number in range(count):
            compute.create_server(
                name=f"{kind}-{number}",
                flavor_id=flavor,
                image_id=image,
                networks="none",
            )
        self._wait(lambda: self._all("ACTIVE", count), "not all are ACTIVE")
        seconds = time.perf_counter() - before
        for server in compute.servers(details=False):
            compute.delete_server(server)
        self._wait(lambda: self._all("", 0), "not all are gone")
        return seconds

    def _all(self, status: str, count: int) -> bool:
        found: list[Any] = list(self.connection.compute.servers())
        if failed := [s for s in found if s.status == "ERROR"]:
            faults = {s.name: s.fault and s.fault["message"] for s in failed}
            raise RuntimeError(f"in ERROR: {faults}")
        return len(found) == count and all(s.status == status for s in found)

    def _wait(self, done: Callable[[], bool], otherwise: str) -> None:
        for _ in openstack.utils.iterate_timeout(TIMEOUT, otherwise, wait=0.1):
            if done():
                return
