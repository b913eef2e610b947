# SPDX-License-Identifier: Apache-2.0
"""detection: a verdict for each model, its reason, and who wins."""

import dataclasses
import itertools

import pytest
from host_facts import (
    EVERYTHING,
    OVMF,
    SEV,
    SEV_ALONE,
    SEV_ES,
    SEV_SNP,
    VIEW,
    judged,
    parameter,
    parameters,
)
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.host.capabilities import ModelCapability, ObstacleKind, Support
from sev_driver.host.cpuid import MemoryEncryptionLeaf
from sev_driver.host.detection import detect
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import HostFacts, KvmParameters, SevDevice, Versions, VmTypes
from sev_driver.host.firmware import FirmwareView
from sev_driver.model import MemoryEncryptionModel

ALL = (SEV, SEV_ES, SEV_SNP)


def sev(**changes: object) -> ModelCapability:
    return judged(SEV, SEV_ALONE, **changes)


@pytest.mark.parametrize(
    ("qemu", "words"),
    [
        ((9, 2, 0), ""),
        ((10, 0, 3), ""),
        ((9, 1, 2), "needs QEMU 9.2.0 for host devices, and this host has 9.1.2"),
        # A source that knows nothing raises no obstacle.
        (None, ""),
    ],
)
def test_qemu_gives_snp_guests_pci_devices_from_9_2(
    qemu: tuple[int, int, int] | None, words: str
) -> None:
    versions = Versions(qemu=qemu)
    obstacle = judged(SEV_SNP, EVERYTHING, versions=versions).pci_obstacle
    assert words in obstacle
    assert bool(words) is bool(obstacle)
    # Guests of other models are refused them in any case.
    assert judged(SEV, EVERYTHING, versions=versions).pci_obstacle == ""


@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
def test_a_host_with_sev(virt_type: str) -> None:
    capability = sev(virt_type=virt_type)
    assert capability.supported
    assert capability.slots == 15
    assert "maxGuests" in capability.slots_source
    assert "15 slots" in str(capability)


@pytest.mark.parametrize("text", ["Y", "1", "y\n", "1\n", "true"])
def test_spellings_of_an_enabled_parameter(text: str) -> None:
    assert sev(parameters=parameters(sev=text)).supported


@pytest.mark.parametrize("text", ["N", "0", "N\n", "no", "", "2", "Y Y"])
def test_spellings_of_a_disabled_parameter(text: str) -> None:
    capability = sev(parameters=parameters(sev=text))
    assert capability.obstacle is ObstacleKind.PARAMETER_OFF


@pytest.mark.parametrize(
    ("changes", "obstacle", "words"),
    [
        ({"virt_type": "lxc"}, ObstacleKind.VIRT_TYPE, "virt_type is lxc"),
        ({"arch": "aarch64"}, ObstacleKind.ARCH, "aarch64"),
        (
            {"parameters": parameters(sev=None), "vendor": "Intel"},
            ObstacleKind.ARCH,
            "the processor is made by Intel",
        ),
        (
            {"parameters": parameters(sev=None)},
            ObstacleKind.PARAMETER_MISSING,
            "does not exist",
        ),
        ({"parameters": parameters(sev="N")}, ObstacleKind.PARAMETER_OFF, "sev is N"),
        ({"parameters": parameters(sev="0")}, ObstacleKind.PARAMETER_OFF, "sev is 0"),
        (
            {"parameters": parameters(sev="")},
            ObstacleKind.PARAMETER_OFF,
            "sev is empty",
        ),
        (
            {
                "parameters": dataclasses.replace(
                    parameters(sev_es=None),
                    sev=parameter(error="Permission denied"),
                )
            },
            ObstacleKind.PARAMETER_UNREADABLE,
            "cannot be read (Permission denied)",
        ),
        (
            {"device": SevDevice(present=False)},
            ObstacleKind.DEVICE_MISSING,
            "/dev/sev does not exist",
        ),
        (
            {"domain": None, "domain_error": "connection lost"},
            ObstacleKind.CAPABILITIES_UNREADABLE,
            "connection lost",
        ),
        (
            {"domain": DomainCapabilities(sev=False)},
            ObstacleKind.LIBVIRT_SAYS_NO,
            "supported='no'",
        ),
        (
            {"domain": DomainCapabilities(sev=True, max_guests=0, max_es_guests=99)},
            ObstacleKind.NO_SLOTS,
            "maxGuests=0",
        ),
        (
            {"domain": DomainCapabilities(sev=True, max_guests=-3)},
            ObstacleKind.NO_SLOTS,
            "maxGuests=-3",
        ),
        (
            {"domain": DomainCapabilities(True, 0, 0)},
            ObstacleKind.SLOTS_UNREADABLE,
            "no slots at all",
        ),
        ({"vm_types": VmTypes(0b11001)}, ObstacleKind.KVM_SAYS_NO, "/dev/kvm"),
    ],
)
def test_a_host_without_sev_says_why(
    changes: dict[str, object], obstacle: ObstacleKind, words: str
) -> None:
    capability = sev(**changes)
    assert capability.obstacle is obstacle
    assert not capability.supported
    assert words in str(capability)
    assert capability.remedy


@pytest.mark.parametrize("obstacle", ObstacleKind)
def test_unreadable_is_not_unsupported(obstacle: ObstacleKind) -> None:
    unreadable = "unreadable" in obstacle.value
    assert obstacle.support is (Support.UNKNOWN if unreadable else Support.NO)


def test_libvirt_older_than_8_tells_no_number() -> None:
    capability = sev(domain=DomainCapabilities(sev=True))
    assert capability.supported
    assert capability.slots is None


def test_who_may_open_the_device_is_told_where_libvirt_cannot_use_it() -> None:
    device = SevDevice(True, "root:root 0600")
    capability = sev(domain=DomainCapabilities(False), device=device)
    assert "/dev/sev (root:root 0600)" in capability.remedy


def test_all_three_generations() -> None:
    host = detect(EVERYTHING)
    assert [host[model].slots for model in ALL] == [410, 99, 99]
    assert all(host[model].supported for model in ALL)
    assert host.shared_slots == 99


# What keeps SEV-ES and SEV-SNP off


@pytest.mark.parametrize(
    ("model", "changes", "obstacle", "words"),
    [
        (
            SEV_ES,
            {"parameters": parameters(sev_es="N", sev_snp="N")},
            ObstacleKind.PARAMETER_OFF,
            "sev_es is N",
        ),
        (
            SEV_SNP,
            {"parameters": parameters(sev_snp=None)},
            ObstacleKind.PARAMETER_MISSING,
            "sev_snp does not exist",
        ),
        (
            SEV_SNP,
            {"parameters": parameters(sev="N")},
            ObstacleKind.PARAMETER_OFF,
            "parameters/sev is N",
        ),
        (
            SEV_ES,
            {"vm_types": VmTypes(0b10101)},
            ObstacleKind.BESIDE_SNP,
            "/dev/kvm does not offer SEV-ES guests",
        ),
        (SEV_ES, {"vm_types": None}, ObstacleKind.BESIDE_SNP, "does not report"),
        (
            SEV_ES,
            {"versions": Versions(kernel=(6, 18, 0))},
            ObstacleKind.BESIDE_SNP,
            "does not report",
        ),
        (
            SEV_ES,
            {
                "parameters": parameters(sev_snp="N"),
                "versions": Versions(qemu=(5, 2, 0)),
            },
            ObstacleKind.VERSION_TOO_OLD,
            "needs QEMU 6.0.0, and this host has QEMU 5.2.0",
        ),
        (
            SEV_SNP,
            {
                "domain": DomainCapabilities(True, 410, 99),
                "versions": Versions((9, 0, 0), (7, 2, 22)),
            },
            ObstacleKind.VERSION_TOO_OLD,
            "needs libvirt 10.5.0 and QEMU 9.1.0, and this host has libvirt 9.0.0 and "
            "QEMU 7.2.22",
        ),
        (
            SEV_SNP,
            {"domain": DomainCapabilities(True, 410, 99, frozenset({"sev"}))},
            ObstacleKind.TYPE_MISSING,
            "the launchSecurity type sev-snp (listed: sev)",
        ),
        (
            SEV_SNP,
            {"domain": DomainCapabilities(True, 410, 99), "versions": Versions()},
            ObstacleKind.TYPE_MISSING,
            "(listed: none)",
        ),
        (
            SEV_ES,
            {"domain": DomainCapabilities(True, 1006, 0), "cpuid": None},
            ObstacleKind.NO_SLOTS,
            "maxESGuests=0",
        ),
        (
            SEV_SNP,
            {"vm_types": VmTypes(0b1101)},
            ObstacleKind.KVM_SAYS_NO,
            "/dev/kvm does not offer such guests",
        ),
        (
            SEV_ES,
            {"firmware": FirmwareView(VIEW.folders, ())},
            ObstacleKind.NO_FIRMWARE,
            "no firmware descriptor in /usr/share/qemu/firmware or /etc/qemu/firmware "
            "has amd-sev-es",
        ),
        (
            SEV_SNP,
            {
                "firmware": FirmwareView(
                    VIEW.folders, (dataclasses.replace(OVMF, device="flash"),)
                )
            },
            ObstacleKind.NO_FIRMWARE,
            "has amd-sev-snp",
        ),
    ],
)
def test_a_host_without_a_later_generation_says_why(
    model: MemoryEncryptionModel,
    changes: dict[str, object],
    obstacle: ObstacleKind,
    words: str,
) -> None:
    capability = judged(model, **changes)
    assert capability.obstacle is obstacle
    assert words in str(capability)
    assert capability.remedy
    assert judged(SEV, **changes).supported or "parameters/sev is N" in words


@pytest.mark.parametrize(
    "changes",
    [
        {"virt_type": "lxc"},
        {"arch": "aarch64"},
        {"parameters": parameters(sev="N")},
        {"device": SevDevice(present=False)},
        {"domain": DomainCapabilities(False)},
        {"domain": None, "domain_error": "lost"},
    ],
)
def test_what_keeps_sev_off_keeps_all_off_for_the_same_reason(
    changes: dict[str, object],
) -> None:
    reasons = {judged(model, **changes).reason for model in ALL}
    assert len(reasons) == 1


def test_a_host_without_slots_for_sev_has_the_others() -> None:
    facts = dataclasses.replace(
        EVERYTHING,
        domain=DomainCapabilities(True, 0, 509, frozenset({"sev", "sev-snp"})),
        cpuid=MemoryEncryptionLeaf(0x1A, 0, 509, 510),
        misc_capacity={"sev_es": 509},
        vm_types=VmTypes(0b11001),
    )
    host = detect(facts)
    assert host[SEV].obstacle is ObstacleKind.NO_SLOTS
    assert (host[SEV_ES].slots, host[SEV_SNP].slots, host.shared_slots) == (509,) * 3


@pytest.mark.parametrize(
    ("model", "counts", "change"),
    [
        (SEV, (0, 509), "to a lower number"),
        (SEV_ES, (509, 0), "to a number such as 100"),
    ],
)
def test_the_slots_are_moved_to_where_they_lack(
    model: MemoryEncryptionModel, counts: tuple[int, int], change: str
) -> None:
    capability = judged(model, domain=DomainCapabilities(True, *counts), cpuid=None)
    assert change in capability.remedy


def test_an_operators_word_that_the_firmware_takes_es_beside_snp() -> None:
    assert not judged(SEV_ES, vm_types=None).supported
    assert judged(SEV_ES, vm_types=None, es_beside_snp=True).slots == 99
    refused = judged(SEV_ES, vm_types=VmTypes(0b10101), es_beside_snp=True)
    assert refused.obstacle is ObstacleKind.BESIDE_SNP


# Which source wins


@pytest.mark.parametrize(
    "silent",
    [
        {"cpuid": MemoryEncryptionLeaf(0, 0, 0, 0)},
        {"misc_capacity": {}},
        {"misc_capacity": {"res_a": 7}},
        {"vm_types": VmTypes(0b1)},
        {"vm_types": VmTypes(0)},
        {"device": SevDevice()},
        {"versions": Versions()},
        {"firmware": None},
    ],
)
def test_a_source_that_knows_nothing_overrules_nothing(
    silent: dict[str, object],
) -> None:
    facts = dataclasses.replace(EVERYTHING, es_beside_snp=True, **silent)  # type: ignore[arg-type]
    assert detect(facts) == detect(dataclasses.replace(EVERYTHING, es_beside_snp=True))


@pytest.mark.parametrize(
    ("changes", "slots", "source"),
    [
        ({"misc_capacity": {"sev": 400, "sev_es": 90}}, (400, 90), "misc.capacity"),
        (
            {"cpuid": MemoryEncryptionLeaf(0x1A, 0, 300, 50)},
            (251, 49),
            "CPUID 0x8000001F",
        ),
        (
            {"domain": DomainCapabilities(True, 5, 4, frozenset({"sev-snp"}))},
            (5, 4),
            "libvirt",
        ),
    ],
)
def test_the_least_number_of_those_that_know_rules(
    changes: dict[str, object], slots: tuple[int, int], source: str
) -> None:
    for model, number in zip((SEV, SEV_SNP), slots, strict=True):
        capability = judged(model, **changes)
        assert capability.slots == number
        assert source in capability.slots_source


@pytest.mark.parametrize(
    "domain",
    [
        DomainCapabilities(True, sectypes=frozenset({"sev-snp"})),
        DomainCapabilities(True, 0, 0, frozenset({"sev-snp"})),
    ],
)
def test_others_count_where_libvirt_does_not(domain: DomainCapabilities) -> None:
    assert judged(SEV, domain=domain).slots == 410
    assert judged(SEV_SNP, domain=domain, cpuid=None).slots == 99


def test_an_unreadable_parameter_is_no_no_where_a_later_one_is_on() -> None:
    unreadable = dataclasses.replace(parameters(), sev=parameter(error="denied"))
    assert judged(SEV_SNP, parameters=unreadable).supported
    assert judged(SEV, parameters=unreadable).support is Support.UNKNOWN


def test_firmware_elsewhere_is_not_missing_firmware() -> None:
    """libvirt in a container of its own knows files that nothing here describes."""
    domain = DomainCapabilities(
        True, 410, 99, frozenset({"sev-snp"}), frozenset({"/other/OVMF.fd"})
    )
    none = FirmwareView(VIEW.folders, ())
    assert judged(SEV_SNP, domain=domain, firmware=none).supported
    assert not judged(SEV_SNP, firmware=none).supported


# Ciphertext hiding


@pytest.mark.parametrize(
    ("hidden", "es", "snp"),
    [
        ("0", None, 99),
        ("1", 98, 1),
        ("40", 59, 40),
        ("99", None, 99),
        ("9999", None, 99),
    ],
)
def test_ciphertext_hiding_divides_the_pool(
    hidden: str, es: int | None, snp: int
) -> None:
    facts = dataclasses.replace(
        EVERYTHING,
        parameters=parameters(ciphertext_hiding_asids=hidden),
        vm_types=None,
    )
    host = detect(facts)
    assert host[SEV_ES].slots == es
    assert host[SEV_SNP].slots == snp
    assert host[SEV].slots == 410
    assert host.shared_slots == 99
    if hidden != "0":
        assert "ciphertext_hiding_asids" in host[SEV_SNP].slots_source


def test_ciphertext_hiding_says_why_nothing_is_left_for_es() -> None:
    capability = judged(SEV_ES, parameters=parameters(ciphertext_hiding_asids="99"))
    assert capability.obstacle is ObstacleKind.NO_SLOTS
    assert "for SEV-SNP" in capability.reason


@pytest.mark.parametrize("text", ["max", "-1", "", "N", None])
def test_ciphertext_hiding_that_is_no_number_divides_nothing(text: str | None) -> None:
    switched = parameters(ciphertext_hiding_asids=text)
    assert judged(SEV_SNP, parameters=switched).slots == 99


def test_ciphertext_hiding_divides_the_pool_even_without_snp() -> None:
    """Linux 6.18 sets the lowest ASID of SEV-ES before it looks whether SNP works."""
    off = parameters(ciphertext_hiding_asids="40", sev_snp="N")
    assert judged(SEV_ES, parameters=off).slots == 59


# Any host


TEXTS = st.sampled_from(["Y", "N", "1", "0", "", None, "40"])
NUMBERS = st.none() | st.integers(-5, 1100)


@st.composite
def hosts(draw: st.DrawFn) -> HostFacts:
    names = ("sev", "sev_es", "sev_snp", "ciphertext_hiding_asids")
    switches: KvmParameters = parameters(**{name: draw(TEXTS) for name in names})
    sectypes = st.none() | st.frozensets(st.sampled_from(["sev", "sev-snp"]))
    domain = st.builds(DomainCapabilities, st.booleans(), NUMBERS, NUMBERS, sectypes)
    registers = st.integers(0, 2**32 - 1)
    leaf = st.builds(
        MemoryEncryptionLeaf, st.just(0x1A), registers, registers, registers
    )
    keys = st.sampled_from(["sev", "sev_es", "other"])
    return dataclasses.replace(
        EVERYTHING,
        parameters=switches,
        domain=draw(st.none() | domain),
        domain_error="lost",
        device=SevDevice(draw(st.sampled_from([True, False, None]))),
        cpuid=draw(st.none() | leaf),
        misc_capacity=draw(st.dictionaries(keys, st.integers(0, 1100))),
        vm_types=draw(st.none() | st.builds(VmTypes, st.integers(0, 63))),
        firmware=draw(st.sampled_from([None, VIEW, FirmwareView(("/f",), ())])),
        es_beside_snp=draw(st.booleans()),
    )


@given(hosts())
def test_every_host_has_a_verdict_and_no_slots_out_of_nothing(facts: HostFacts) -> None:
    host = detect(facts)
    assert list(host) == list(ALL)
    for capability in host.values():
        if capability.supported:
            assert capability.slots is None or capability.slots > 0
            assert capability.slots_source
        else:
            assert capability.reason and capability.remedy and capability.slots is None
    counted = facts.domain.max_guests if facts.domain else None
    if counted is not None and host[SEV].slots is not None and counted > 0:
        assert host[SEV].slots <= counted
    pool = host.shared_slots
    for model in (SEV_ES, SEV_SNP):
        slots = host[model].slots
        if pool is not None and slots is not None:
            assert slots <= pool


@given(hosts())
def test_what_is_unknown_is_never_a_louder_no(facts: HostFacts) -> None:
    """Taking a source away that raised no obstacle raises none."""
    blind = dataclasses.replace(
        facts, cpuid=None, misc_capacity={}, vm_types=None, firmware=None
    )
    for model, seeing in itertools.product(ALL, (detect(facts),)):
        now = detect(dataclasses.replace(blind, es_beside_snp=True))[model]
        if seeing[model].supported:
            assert now.obstacle in (None, ObstacleKind.SLOTS_UNREADABLE)
