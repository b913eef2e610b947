# SPDX-License-Identifier: Apache-2.0
"""Stock Nova's driver and ours do the same in the same cloud, side by side.

Debian 12's libvirt refuses every UEFI guest of stock Nova 34; stock Nova is
mended in that one point here, or there would be nothing to compare.
"""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from lab import Lab, eventually

from devcloud.settings import DRIVER

STOCK = "libvirt.LibvirtDriver"
README = Path(__file__).parents[2] / "README.rst"


class Beside(Lab):
    """A cloud with one of the two drivers, on a host with two slots."""

    def __init__(self, state: Path, driver: str) -> None:
        super().__init__(state)
        self.settings = dataclasses.replace(
            self.settings,
            driver=driver,
            mend_loader=driver == STOCK,
            nodes=(self.settings.nodes[0].replace(max_asid=2),),
        )

    def _setUp(self) -> None:
        super()._setUp()
        self.q35_image = self.make_image(
            "q35", hw_firmware_type="uefi", hw_machine_type="q35"
        )
        self.asking_image = self.make_image(
            "asking",
            hw_firmware_type="uefi",
            hw_machine_type="q35",
            hw_mem_encryption="true",
        )

    def boot_q35(self, name: str = "q35") -> Any:
        server = self.boot(name, self.encrypted_flavor, self.q35_image)
        assert server.status == "ACTIVE", server.fault
        return server

    def rescue(self, server: Any) -> str:
        """What became of a rescue with an ordinary image."""
        outcome = self.act(server, "rescue", {"rescue_image_ref": self.bios_image})
        if outcome.server.status != "RESCUE":
            return f"server in {outcome.server.status}, guest off"
        encrypted = self.domain(server).launch_security == "sev"
        return "encrypted" if encrypted else "in the clear"


@pytest.fixture(scope="module", params=[STOCK, DRIVER])
def beside(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Beside]:
    with Beside(tmp_path_factory.mktemp("beside"), request.param) as lab:
        yield lab


@pytest.fixture
def cloud(beside: Beside) -> Iterator[Beside]:
    yield beside
    beside.clear()


def unset_machine_type(cloud: Beside) -> str:
    server = cloud.boot("unset", cloud.encrypted_flavor, cloud.uefi_image)
    if server.status == "ACTIVE":
        assert "q35" in cloud.domain(server).machine
        return "boots, with q35"
    return str(server.fault["message"].partition(".")[0])


def rescue_when_the_image_asks(cloud: Beside) -> str:
    server = cloud.boot("asking", cloud.plain_flavor, cloud.asking_image)
    assert cloud.domain(server).launch_security == "sev"
    return cloud.rescue(server)


def rescue_when_the_flavor_asks(cloud: Beside) -> str:
    return cloud.rescue(cloud.boot_q35())


def hard_reboot_after_sev_was_switched_off(cloud: Beside) -> str:
    server = cloud.boot_q35()
    cloud.set_host(sev=False)
    try:
        after = cloud.act(server, "reboot", {"type": "HARD"}).server
        if server.instance_name not in cloud.virsh("list", "--name"):
            return f"guest destroyed, server in {after.status}"
        assert cloud.domain(server).launch_security == "sev"
        return "refused, guest keeps running"
    finally:
        cloud.set_host(sev=True)
        # Nova looks each second.
        eventually("the slots are back", lambda: sum(free_slots(cloud)) == 2)
        eventually("the host is enabled", cloud.offers_slots)


def free_slots(cloud: Beside) -> list[int]:
    inventories = cloud.inventory().values()
    return [int(total) - int(reserved) for total, reserved in inventories]


def third_guest_on_two_slots(cloud: Beside) -> str:
    cloud.boot_q35("one")
    cloud.boot_q35("two")
    third = cloud.boot("three", cloud.encrypted_flavor, cloud.q35_image)
    return str(third.fault["message"].strip())


def guest_of_another_manager(cloud: Beside) -> str:
    def free() -> int:
        (slots,) = free_slots(cloud)
        return slots

    cloud.start_stranger("stranger")
    try:
        # Nova looks each second.
        for _ in range(15):
            time.sleep(1)
            if free() == 1:
                break
        return f"Placement has {free()} of 2 slots free"
    finally:
        cloud.virsh("destroy", "stranger")
        eventually("the slot is back", lambda: free() == 2)


def suspend(cloud: Beside) -> str:
    server = cloud.boot_q35()
    with pytest.raises(openstack.exceptions.BadRequestException):
        cloud.act(server, "suspend")
    return "refused by the API"


#: What README shows: the case, stock Nova 34, sev_driver.
TABLE = [
    (
        unset_machine_type,
        "Exceeded maximum number of retries",
        "boots, with q35",
    ),
    (rescue_when_the_image_asks, "in the clear", "encrypted"),
    (rescue_when_the_flavor_asks, "server in ERROR, guest off", "encrypted"),
    (
        hard_reboot_after_sev_was_switched_off,
        "guest destroyed, server in ERROR",
        "refused, guest keeps running",
    ),
    (third_guest_on_two_slots, "No valid host was found.", "No valid host was found."),
    (
        guest_of_another_manager,
        "Placement has 2 of 2 slots free",
        "Placement has 1 of 2 slots free",
    ),
    (suspend, "refused by the API", "refused by the API"),
]


@pytest.mark.parametrize("row", TABLE, ids=[row[0].__name__ for row in TABLE])
def test_side_by_side(cloud: Beside, row: tuple[Any, str, str]) -> None:
    case, stock, ours = row
    assert case(cloud) == (stock if cloud.settings.driver == STOCK else ours)


@pytest.mark.parametrize("row", TABLE, ids=[row[0].__name__ for row in TABLE])
def test_the_readme_shows_it(row: tuple[Any, str, str]) -> None:
    _case, stock, ours = row
    lines = README.read_text().splitlines()
    assert any(stock in line and ours in line.partition(stock)[2] for line in lines), (
        f"README has no row with {stock!r} and {ours!r}"
    )
