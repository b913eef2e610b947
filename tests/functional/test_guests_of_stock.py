# SPDX-License-Identifier: Apache-2.0

"""Encrypted guests that stock Nova starts, after the switch to this driver."""

import nova_cloud
import pytest
from nova_cloud import ASKED_BY_FLAVOR, UEFI, assert_encrypted
from with_driver import SEV_DRIVER, STOCK_DRIVER

Q35 = UEFI | {"hw_machine_type": "q35"}
#: What this driver takes in no new guest, for few images boot from there.
BUSES = {"usb": {"hw_disk_bus": "usb"}, "lsi": {"hw_disk_bus": "scsi"}}


@pytest.mark.parametrize("bus", BUSES)
def test_its_boot_disk_is_tolerated_and_told_of(bus: str) -> None:
    with nova_cloud.cloud(STOCK_DRIVER) as cloud:
        server = cloud.boot(Q35 | BUSES[bus], ASKED_BY_FLAVOR)
        cloud.use_driver(SEV_DRIVER)
        cloud.restart()
        assert "The guest may start only because it has run before: " in cloud.log
        assert "The guest cannot be started" not in cloud.log

        cloud.hard_reboot(server)
        cloud.act(server, {"os-stop": None}, "SHUTOFF")
        cloud.act(server, {"os-start": None}, "ACTIVE")

        assert_encrypted(cloud.defined[-1])
        assert "Starting the guest as it has run before: " in cloud.log
        image = cloud.image(f"again-{bus}", **Q35, **BUSES[bus])
        cloud.defined.clear()
        cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ACTIVE")
        assert not cloud.defined
