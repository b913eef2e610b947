# SPDX-License-Identifier: Apache-2.0

import dataclasses

import pytest
from host_facts import EVERYTHING, SEV, SEV_ALONE, SEV_SNP
from nova_evidence import PATH, evidence

from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.doctor.host.checks import memory as memory_checks
from sev_driver.doctor.host.domains import RunningDomain
from sev_driver.doctor.host.evidence import Evidence, Fact
from sev_driver.doctor.host.tree import checks_of, run_checks
from sev_driver.host.domain_capabilities import DomainCapabilities

PASS, WARN, FAIL, SKIP = Verdict

#: 15 slots of SEV, as on a Naples.
NAPLES = dataclasses.replace(
    EVERYTHING,
    domain=DomainCapabilities(True, 15, 0, frozenset({"sev"})),
    cpuid=None,
    misc_capacity={},
)


def found(id: str, host: Evidence) -> Finding:
    findings = run_checks(checks_of(memory_checks), host, SEV)
    return next(finding for finding in findings if finding.check.id == f"memory.{id}")


def judged(id: str, options: str = "", **changes: object) -> Finding:
    changes.setdefault("facts", NAPLES)
    return found(id, evidence(f"[DEFAULT]\n{options}", **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "verdict", "said"),
    [
        ("", PASS, "1.0 for a new host"),
        ("ram_allocation_ratio = 1.0", PASS, "it is 1.0"),
        ("ram_allocation_ratio = 0.9", PASS, "it is 0.9"),
        # Unset, as older releases wrote it.
        ("ram_allocation_ratio = 0.0", PASS, "1.0 for a new host"),
        ("ram_allocation_ratio = 1.5", FAIL, "promises 393216 MiB of 262144 MiB"),
        ("initial_ram_allocation_ratio = 1.5", FAIL, "it is 1.5"),
        (
            "initial_ram_allocation_ratio = 1.5\nram_allocation_ratio = 1",
            PASS,
            "it is 1.0",
        ),
    ],
)
def test_overcommit(options: str, verdict: Verdict, said: str) -> None:
    finding = judged("overcommit", options)
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding
    if verdict is FAIL:
        wanted = f"set [DEFAULT] ram_allocation_ratio = 1.0 in {PATH}"
        assert wanted in finding.remedy


def test_an_unreadable_meminfo_does_not_hide_the_ratio() -> None:
    unread = Fact(unknown="denied")
    finding = judged("overcommit", "ram_allocation_ratio = 2.0", memory_fact=unread)
    assert finding.verdict is FAIL
    assert judged("room", memory_fact=unread).verdict is SKIP
    assert judged("reserved", memory_fact=unread).verdict is SKIP


@pytest.mark.parametrize(
    ("reserved", "total", "verdict", "said"),
    [
        # 15 guests of 2 GiB in 256 GiB: there is room beside them whatever is kept.
        (512, 262144, WARN, "15 guests of 2048 MiB pin 31200 MiB, of 262144 MiB"),
        (4352, 262144, PASS, "480 MiB (AMD SEV spec) to 3840 MiB (libvirt's advice)"),
        (3839, 262144, WARN, "and 3839 MiB are reserved"),
        # 30720 MiB is their RAM to the last MiB.
        (0, 30720, WARN, "15 guests of 2048 MiB pin 31200 MiB, of 30720 MiB"),
        (0, 2079, FAIL, "not even the first guest would run"),
        (0, 2080, WARN, "1 guests of 2048 MiB pin 2080 MiB"),
        (512, 30720, WARN, "14 guests of 2048 MiB pin 29120 MiB"),
    ],
)
def test_reserved(reserved: int, total: int, verdict: Verdict, said: str) -> None:
    option = f"reserved_host_memory_mb = {reserved}"
    finding = judged("reserved", option, memory=(total, total, 0))
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding


@pytest.mark.parametrize("total", [8192, 30720, 31200, 65536, 262144, 1048576])
@pytest.mark.parametrize("huge", [0, 4096])
@pytest.mark.parametrize("before", [0, 512])
def test_who_does_as_advised_has_enough(total: int, huge: int, before: int) -> None:
    def reserve(mib: int) -> Finding:
        option = f"reserved_host_memory_mb = {mib}"
        return judged("reserved", option, memory=(total, total, huge))

    finding = reserve(before)
    assert finding.verdict in (WARN, FAIL)
    advised = finding.remedy.partition("reserved_host_memory_mb = ")[2].split()[0]
    assert reserve(int(advised)).verdict is PASS


@pytest.mark.parametrize("reserved", [0, 512, 4352])
def test_a_host_whose_guests_have_huge_pages_is_not_emptied(reserved: int) -> None:
    """Nearly all is huge pages, as where flavors have hw:mem_page_size=large."""
    options = f"reserved_host_memory_mb = {reserved}"
    memory = (262144, 1500, 258048)
    finding = judged("reserved", options, memory=memory)
    assert finding.verdict is (PASS if reserved == 4352 else WARN)
    if finding.verdict is WARN:
        assert "reserved_host_memory_mb = 4352 in" in finding.remedy
    room = judged("room", options, memory=memory)
    assert (room.verdict, "hw:mem_page_size" in room.remedy) == (WARN, True)


def test_huge_pages_that_the_host_keeps_for_itself_are_not_for_guests() -> None:
    kept, memory = "reserved_host_memory_mb = 28672", (30720, 30720, 28672)
    finding = judged("reserved", kept, memory=memory)
    assert (finding.verdict, "not even the first" in finding.seen) == (FAIL, True)
    finding = judged("room", kept, memory=(30720, 1500, 28672))
    assert finding.verdict is FAIL


@pytest.mark.parametrize(
    ("value", "reserved"), [("", 512), ("+5_000", 5000), ("-5", 512), ("much", 512)]
)
def test_the_reserve_is_what_oslo_config_takes_it_for(
    value: str, reserved: int
) -> None:
    finding = judged("reserved", f"reserved_host_memory_mb = {value}")
    assert f"and {reserved} MiB are reserved" in finding.seen


def test_without_a_word_nova_reserves_512() -> None:
    assert "and 512 MiB are reserved" in judged("reserved").seen


@pytest.mark.parametrize(
    ("huge", "reserved", "verdict"),
    [(0, 512, PASS), (65536, 512, WARN), (65536, 65536, PASS)],
)
def test_huge_pages(huge: int, reserved: int, verdict: Verdict) -> None:
    finding = judged(
        "huge-pages",
        f"reserved_host_memory_mb = {reserved}",
        memory=(262144, 190000, huge),
    )
    assert finding.verdict is verdict
    if verdict is WARN:
        assert "65536 MiB of 262144 MiB" in finding.seen
        assert "hw:mem_page_size" in finding.remedy


@pytest.mark.parametrize(
    ("available", "guest", "verdict", "said"),
    [
        (200000, 2048, PASS, "pins 2080 MiB: 96 fit now, and 14 by the free slots"),
        (2080, 2048, PASS, "1 fit now"),
        (2079, 2048, FAIL, "0 fit now"),
        (2079, 1024, PASS, "pins 1056 MiB: 1 fit now"),
    ],
)
def test_room(available: int, guest: int, verdict: Verdict, said: str) -> None:
    finding = judged(
        "room",
        memory=(262144, available, 0),
        guest_mib=guest,
        domains=(RunningDomain("uuid", "instance", SEV, 65536, novas=True),),
    )
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding


def test_a_reserve_of_all_memory_leaves_nova_nothing() -> None:
    finding = judged("room", "reserved_host_memory_mb = 262143")
    assert (finding.verdict, "lower [DEFAULT]" in finding.remedy) == (FAIL, True)


def test_a_generation_that_does_not_run_needs_no_reserve() -> None:
    host = evidence("", facts=SEV_ALONE)
    for finding in run_checks(checks_of(memory_checks), host, SEV_SNP):
        assert finding.verdict in (PASS, SKIP)
