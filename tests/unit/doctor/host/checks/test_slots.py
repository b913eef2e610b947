# SPDX-License-Identifier: Apache-2.0

import dataclasses

import pytest
from host_facts import EVERYTHING, SEV, SEV_ALONE, SEV_ES, SEV_SNP, parameters
from nova_evidence import PATH, evidence

from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.doctor.host.checks import slots
from sev_driver.doctor.host.domains import RunningDomain
from sev_driver.doctor.host.tree import checks_of, run_checks
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import HostFacts, VmTypes
from sev_driver.model import MemoryEncryptionModel

PASS, WARN, FAIL, SKIP = Verdict

#: Two slots of SEV, two that SEV-ES and SEV-SNP share.
SMALL = dataclasses.replace(
    EVERYTHING,
    domain=DomainCapabilities(True, 2, 2, frozenset({"sev", "sev-snp"})),
    cpuid=None,
    misc_capacity={},
)
#: Of the two that are shared, SEV-SNP has one, and SEV-ES the other.
SPLIT = dataclasses.replace(
    SMALL, parameters=parameters(ciphertext_hiding_asids="1"), vm_types=VmTypes(28)
)
CAPS = {
    SEV: "[libvirt]\nnum_memory_encrypted_guests",
    SEV_ES: "[sev]\nnum_sev_es_guests",
    SEV_SNP: "[sev]\nnum_sev_snp_guests",
}


def novas(model: MemoryEncryptionModel | None, name: str = "1") -> RunningDomain:
    return RunningDomain(f"uuid-{name}", f"instance-{name}", model, 65536, novas=True)


def another(model: MemoryEncryptionModel | None, name: str = "db") -> RunningDomain:
    return RunningDomain(f"uuid-{name}", name, model, 65536)


def judged(
    model: MemoryEncryptionModel, conf: str = "", **changes: object
) -> tuple[Finding, Finding]:
    changes.setdefault("facts", SMALL)
    host = evidence(conf, **changes)  # type: ignore[arg-type]
    total, free = run_checks(checks_of(slots), host, model)
    return total, free


@pytest.mark.parametrize(
    ("domains", "model", "left"),
    [
        ((), SEV, 2),
        ((novas(SEV),), SEV, 1),
        ((novas(SEV), another(SEV)), SEV, 0),
        ((novas(None), another(None)), SEV, 2),
        ((novas(SEV_ES), another(SEV_SNP)), SEV, 2),
        ((another(SEV_ES),), SEV_SNP, 1),
        ((novas(SEV_SNP), another(SEV_ES)), SEV_SNP, 0),
    ],
)
def test_free_slots_are_those_that_nobody_holds(
    domains: tuple[RunningDomain, ...], model: MemoryEncryptionModel, left: int
) -> None:
    finding = judged(model, domains=domains)[1]
    assert finding.verdict is (PASS if left else FAIL)
    assert finding.seen.startswith(f"{left} of 2 free")


def test_full_slots_name_who_holds_them_and_who_can_let_go() -> None:
    finding = judged(SEV, domains=(novas(SEV), another(SEV)))[1]
    assert finding.seen == (
        "0 of 2 free; 1 held by servers of Nova (uuid-1), 1 held by guests not managed "
        "by Nova (db)"
    )
    assert "ask the owner of db" in finding.remedy
    assert "virsh shutdown db, or if that has no effect, virsh destroy db" in (
        finding.remedy
    )
    assert "openstack server migrate uuid-1" in finding.remedy


def test_of_many_a_few_are_named() -> None:
    many = tuple(another(SEV, f"g{number}") for number in range(9))
    facts = dataclasses.replace(
        SMALL, domain=DomainCapabilities(True, 9, 2, frozenset({"sev"}))
    )
    finding = judged(SEV, facts=facts, domains=many)[1]
    assert (
        "9 held by guests not managed by Nova (g0, g1, g2, g3 and 5 more)"
        in finding.seen
    )


def test_the_kernel_counts_guests_that_libvirt_does_not_run() -> None:
    finding = judged(SEV, domains=(another(SEV),), misc_current={"sev": 2})[1]
    assert finding.verdict is FAIL
    assert "1 held by guests that libvirt does not run" in finding.seen
    assert "pgrep" in finding.remedy


def test_where_libvirt_is_silent_the_kernel_still_counts() -> None:
    finding = judged(SEV, domains=None, misc_current={"sev": 1, "sev_es": 0})[1]
    assert (finding.verdict, finding.seen[:11]) == (PASS, "1 of 2 free")
    assert judged(SEV, domains=None)[1].verdict is SKIP


def test_those_that_have_a_pool_of_their_own_do_not_take_from_another() -> None:
    taken = (another(SEV_SNP),)
    assert judged(SEV_ES, facts=SPLIT, domains=taken)[1].verdict is PASS
    assert judged(SEV_SNP, facts=SPLIT, domains=taken)[1].verdict is FAIL


def test_an_option_that_offers_fewer_may_be_what_is_full() -> None:
    taken = (novas(SEV),)
    finding = judged(SEV, f"{CAPS[SEV]} = 1", domains=taken)[1]
    assert finding.verdict is FAIL
    assert f"raise [libvirt] num_memory_encrypted_guests in {PATH}" in finding.remedy
    assert "of the 2 that the hardware has" in finding.remedy
    # Others first take what Nova is not offered.
    assert judged(SEV, f"{CAPS[SEV]} = 1", domains=(another(SEV),))[1].verdict is PASS


@pytest.mark.parametrize(
    ("model", "conf", "verdict", "said", "remedy"),
    [
        (SEV, "", PASS, "2 offered to Nova (maxGuests", ""),
        (SEV, f"{CAPS[SEV]} = 1", PASS, "1 offered to Nova", ""),
        (SEV, f"{CAPS[SEV]} = 0", FAIL, "guests is 0", "raise it in /etc/nova"),
        (SEV, f"{CAPS[SEV]} = 9", WARN, "2 are offered", "lower the option"),
        (SEV_SNP, "", PASS, "2 offered", ""),
        (SEV_ES, "", FAIL, "SEV-SNP has 2 of the 2", "set [sev] num_sev_es_guests"),
        (SEV_ES, f"{CAPS[SEV_ES]} = 2", PASS, "2 offered", ""),
        (
            SEV_SNP,
            f"{CAPS[SEV_ES]} = 2",
            FAIL,
            "SEV-ES has 2",
            "lower [sev] num_sev_es",
        ),
    ],
)
def test_what_is_offered(
    model: MemoryEncryptionModel, conf: str, verdict: Verdict, said: str, remedy: str
) -> None:
    facts = dataclasses.replace(SMALL, vm_types=VmTypes(28))
    total, free = judged(model, conf, facts=facts)
    assert (total.verdict, said in total.seen) == (verdict, True), total
    assert remedy in total.remedy
    assert (free.verdict is SKIP) == (verdict is FAIL)


@pytest.mark.parametrize("facts", [SEV_ALONE])
def test_what_does_not_run_here_has_no_slots(facts: HostFacts) -> None:
    assert [finding.verdict for finding in judged(SEV_SNP, facts=facts)] == [SKIP, SKIP]


def test_an_unknown_number_is_not_judged() -> None:
    facts = dataclasses.replace(
        SMALL, domain=DomainCapabilities(True, None, None, None), cpuid=None
    )
    total, free = judged(SEV, facts=facts, domains=(novas(SEV),))
    assert (total.verdict, "no known number" in total.seen) == (PASS, True)
    assert (free.verdict, "1 held by servers of Nova" in free.seen) == (SKIP, True)
    # With a limit of the operator's there is something to count down from.
    limited = judged(SEV, f"{CAPS[SEV]} = 1", facts=facts, domains=(novas(SEV),))[1]
    assert limited.verdict is FAIL
