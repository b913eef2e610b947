# SPDX-License-Identifier: Apache-2.0
"""[libvirt] num_memory_encrypted_guests, and what Placement is offered."""

from lab import PROVIDER, Lab, eventually
from prometheus_client.parser import text_string_to_metric_families

from devcloud.testing import CloudFixture

# The lab's host has 15 slots, and its nova.conf says 4.


def cap(number: int) -> dict[str, dict[str, int]]:
    return {"libvirt": {"num_memory_encrypted_guests": number}}


def test_without_it_all_slots_are_offered(cloud: CloudFixture) -> None:
    log = cloud.log()
    assert "AMD SEV: 15 slots offered to Placement (maxGuests in libvirt's" in log
    # What they pin, by the spec's formula and by libvirt's advice.
    assert "for 15 guests set [DEFAULT] reserved_host_memory_mb to " in log
    assert "the memory the host itself needs plus 480 to 3840" in log
    assert "or limit /machine.slice to the host's " in log


def test_a_lower_number_rules(lab: Lab) -> None:
    assert lab.inventory() == {PROVIDER: (4, 0)}


def test_a_higher_number_is_overruled_by_the_hardware(lab: Lab) -> None:
    lab.configure({**cap(100), "DEFAULT": {"ram_allocation_ratio": 1.5}})

    assert lab.inventory() == {PROVIDER: (15, 0)}
    log = lab.log()
    assert "num_memory_encrypted_guests is 100, but this host has 15 slots" in log
    # Memory that is pinned cannot be overcommitted: said at the same time.
    assert "ram_allocation_ratio is 1.5, but the memory of encrypted guests" in log


def test_with_0_there_are_none(lab: Lab) -> None:
    lab.configure(cap(0))

    assert lab.inventory() == {}
    server = lab.boot_encrypted()
    assert server.status == "ERROR"
    assert "No valid host was found" in server.fault["message"]
    assert lab.boot_plain().status == "ACTIVE"


def test_prometheus_is_told_where_the_option_names_a_file(lab: Lab) -> None:
    file = lab.cloud.layout.tmp / "sev_driver.prom"
    lab.configure({"sev": {"prometheus_textfile": str(file)}})

    def slots() -> dict[str, float]:
        if not file.exists():
            return {}
        return {
            sample.labels["state"]: sample.value
            for family in text_string_to_metric_families(file.read_text())
            for sample in family.samples
            if sample.name == "sev_driver_slots"
            and sample.labels["generation"] == "amd-sev"
        }

    idle = {"used": 0, "free": 4, "reserved": 0, "lost": 0}
    eventually("all four slots are free", lambda: slots() == idle)
    lab.boot_encrypted()
    one_used = {**idle, "used": 1, "free": 3}
    eventually("one slot is used", lambda: slots() == one_used)
    line = "sev_slots generation=amd-sev used=1 free=3 reserved=0 lost=0 model=amd-sev"
    assert line in lab.log()
