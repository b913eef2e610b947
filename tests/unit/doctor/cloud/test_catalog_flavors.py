# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses

import pytest
from a_cloud import BROKEN, ES, ON, REFUSED, SEV, SLOTS, UEFI, cloud, flavor, image

from sev_driver.doctor.cloud import catalog
from sev_driver.doctor.cloud.facts import CloudSlots
from sev_driver.doctor.findings import Verdict

SLOT = {"resources:MEM_ENCRYPTION_CONTEXT": "1"}
MODEL = "hw:mem_encryption_model"
MISSPELT = "hw:mem_encryption_modle"
OURS = {"sev:model": "amd-sev-es"} | SLOT
TRAIT = {"trait:HW_CPU_X86_AMD_SEV_ES": "required"}
MARK = {"trait:CUSTOM_AMD_SEV_HOST": "required"}
MIXED = dataclasses.replace(SLOTS, nodes=SLOTS.nodes | {"node2"})

CASES = [
    ("plain", {}, 34, []),
    ("off", {"hw:mem_encryption": "no"}, 34, []),
    ("another vendor's", ON | {MODEL: "intel-tdx"}, 34, ["skip foreign"]),
    (
        "another vendor's, and AMD's trait",
        ON | {MODEL: "intel-tdx"} | TRAIT,
        34,
        ["fail foreign"],
    ),
    ("misspelt", {"hw:mem_encyption": "true"}, 34, ["warn spelling"]),
    ("misspelt value", {"hw:mem_encryption": "ture"}, 34, ["warn spelling"]),
    ("misspelt model", ON | {MISSPELT: "amd-sev-es"}, 34, ["fail spelling"]),
    (
        "misspelt model of no effect",
        ON | {MISSPELT: "amd-sev"},
        34,
        ["warn spelling", "pass fits"],
    ),
    ("misspelt key of ours", {"sev:modle": "amd-sev"}, 34, ["warn spelling"]),
    (
        "forbidden trait",
        ON | {"trait:HW_CPU_X86_AMD_SEV": "forbidden"},
        34,
        ["fail agreement"],
    ),
    (
        "forbidden trait of another model",
        ON | {"trait:HW_CPU_X86_AMD_SEV_ES": "forbidden"},
        34,
        ["pass fits"],
    ),
    ("another vendor's, unknown", ON | {MODEL: "intel-tdx"}, 33, ["fail agreement"]),
    ("fine", ON, 34, ["pass fits"]),
    ("fine by model", ON | {MODEL: "amd-sev-es"}, 34, ["pass fits"]),
    ("nowhere", ON | {MODEL: "amd-sev-snp"}, 34, ["fail offered"]),
    ("no model", ON | {MODEL: "sev"}, 34, ["fail agreement"]),
    (
        "disagreeing",
        ON | {MODEL: "amd-sev-es", "sev:model": "amd-sev"},
        34,
        ["fail agreement"],
    ),
    ("denied", {"hw:mem_encryption": "no"} | OURS, 34, ["fail agreement"]),
    ("two wrongs", {"sev:model": "x"}, 34, ["fail agreement", "fail slot"]),
    ("no slot", {"sev:model": "amd-sev-es"}, 34, ["fail slot"]),
    ("gpu", ON | {"pci_passthrough:alias": "gpu:1"}, 34, ["fail no-host-device"]),
    (
        "gpu, where a host may allow it",
        ON | {MODEL: "amd-sev-snp", "pci_passthrough:alias": "gpu:1"},
        34,
        ["warn pci", "fail offered"],
    ),
    (
        "vgpu with SEV-SNP",
        ON | {MODEL: "amd-sev-snp", "resources:VGPU": "1"},
        34,
        ["fail no-host-device"],
    ),
    ("vgpu", ON | {"resources:VGPU": "1"}, 34, ["fail no-host-device"]),
    ("accel", ON | {"accel:device_profile": "fpga"}, 34, ["fail no-host-device"]),
    ("half", {MODEL: "amd-sev"}, 34, ["warn half"]),
    ("half by slot", SLOT, 34, ["warn half"]),
    ("half by trait", TRAIT, 34, ["warn half"]),
    ("not a number", ON | {"resources:VCPU": "x"}, 34, ["fail amount"]),
    ("any pool", OURS, 34, ["pass fits"]),
    ("older Nova", ON, 31, ["pass fits"]),
    ("newer Nova", ON | {"sev:model": "amd-sev-es"}, 32, ["fail agreement"]),
]


@pytest.mark.parametrize(
    ("specs", "nova", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_flavors(specs: dict[str, str], nova: int, expected: list[str]) -> None:
    found = list(catalog.check_flavors(cloud(nova=nova, flavors=(flavor(specs),))))
    told = [f"{f.verdict.value} {f.check.id.partition('.')[2]}" for f in found]
    assert told == expected
    assert all(f.check.title == "flavor m1.sev" for f in found)
    wrong = (Verdict.FAIL, Verdict.WARN)
    assert all(bool(f.remedy) is (f.verdict in wrong) for f in found)


@pytest.mark.parametrize(
    ("specs", "nova", "warned"),
    [
        (ON, 31, True),
        (ON, 34, False),
        (ON | {"trait:HW_CPU_X86_AMD_SEV": "required"}, 31, False),
        (OURS, 34, False),  # both hosts have slots of SEV-ES
        (OURS | {"sev:model": "amd-sev"}, 34, True),
        (OURS | TRAIT, 34, False),
    ],
)
def test_hosts_that_have_slots_of_other_models_alone(
    specs: dict[str, str], nova: int, warned: bool
) -> None:
    lone = dataclasses.replace(ES, provider="node2_amd_sev_es", root="node2")
    slots = dataclasses.replace(
        MIXED, pools=(SEV, ES, lone), marked=MIXED.nodes, names={}
    )
    found = catalog.check_flavors(
        cloud(flavors=(flavor(specs),), slots=slots, nova=nova)
    )
    pool = [f.seen for f in found if f.check.id == "flavor.pool"]
    assert [text.count("(node2)") for text in pool] == [1] * warned


@pytest.mark.parametrize(
    ("specs", "warned"),
    [(OURS | TRAIT, True), (OURS | TRAIT | MARK, False), (ON, False)],
)
def test_hosts_that_would_run_it_in_the_clear(
    specs: dict[str, str], warned: bool
) -> None:
    found = catalog.check_flavors(cloud(flavors=(flavor(specs),), slots=MIXED))
    assert (
        any(
            f.check.id == "flavor.stock-host" and "(node2 may)" in f.seen for f in found
        )
        is warned
    )


def test_which_images_fit() -> None:
    (finding,) = catalog.check_flavors(cloud())
    assert finding.seen.endswith("; of 2 images 1 fits (debian)")
    usb = UEFI | {"hw_disk_bus": "usb"}
    bad = (image({"hw_disk_bus": "usb"}, "worse"), image(usb, "bad"))
    (finding,) = catalog.check_flavors(cloud(images=bad))
    assert finding.verdict is Verdict.FAIL
    assert "none fits; the nearest is image bad: hw_disk_bus" in finding.seen
    (finding,) = catalog.check_flavors(cloud(images=REFUSED))
    assert finding.verdict is Verdict.PASS and "no image was checked" in finding.seen


def test_an_image_may_deny_what_the_flavor_asks() -> None:
    deny = UEFI | {"hw_mem_encryption": "false"}
    (finding,) = catalog.check_flavors(cloud(images=(image(deny),)))
    assert "hw_mem_encryption of image debian denies it" in finding.seen


def test_what_is_not_known_is_not_denied() -> None:
    snp = flavor(ON | {MODEL: "amd-sev-snp"})
    stateless = image(UEFI | {"hw_firmware_stateless": "true"})
    unknown = cloud(flavors=(snp,), images=(stateless,), slots=REFUSED)
    (finding,) = catalog.check_flavors(unknown)
    assert finding.verdict is Verdict.PASS
    (skipped,) = catalog.check_flavors(cloud(flavors=REFUSED))
    assert skipped.verdict is Verdict.SKIP and not skipped.remedy
    (failed,) = catalog.check_flavors(cloud(flavors=BROKEN))
    assert failed.verdict is Verdict.FAIL and failed.seen == "no answer"


def test_a_pool_that_is_wholly_reserved_offers_nothing() -> None:
    gone = dataclasses.replace(SEV, reserved=15, used=0)
    (finding,) = catalog.check_flavors(
        cloud(slots=CloudSlots((gone,), SLOTS.nodes, SLOTS.nodes))
    )
    assert finding.check.id == "flavor.offered"


@pytest.mark.parametrize(
    ("specs", "seen", "remedy"),
    [
        (
            TRAIT,
            "from Nova 32 on, no host is found for its guests",
            "set hw:mem_encryption=true as well, or unset it",
        ),
        (
            ON | {MODEL: "amd-sve"},
            "flavor m1.sev has hw:mem_encryption_model=amd-sve, which is no model",
            "set it to one of amd-sev, amd-sev-es, amd-sev-snp",
        ),
        (
            ON | {MISSPELT: "amd-sev-es"},
            "hw:mem_encryption_modle=amd-sev-es has no effect",
            "set hw:mem_encryption_model=amd-sev-es, or unset it",
        ),
    ],
)
def test_remedy_is_the_right_one(specs: dict[str, str], seen: str, remedy: str) -> None:
    (finding,) = catalog.check_flavors(cloud(flavors=(flavor(specs),)))
    assert seen in finding.seen
    assert finding.remedy == remedy


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (True, ["pass flavor.fits"]),
        (False, ["warn flavor.room"]),
        (BROKEN, ["fail flavor.read"]),
        (REFUSED, ["skip flavor.read"]),
    ],
)
def test_flavor_for_which_no_host_has_room(room: object, expected: list[str]) -> None:
    found = list(catalog.check_flavors(cloud(has_room={"1": room})))
    assert [f"{f.verdict.value} {f.check.id}" for f in found] == expected
    assert found[0].check.title == "flavor m1.sev"


def test_flavor_without_room_and_without_a_fitting_image_fails_by_the_image() -> None:
    found = catalog.check_flavors(cloud(images=(image({}),), has_room={"1": False}))
    assert [f.check.id for f in found] == ["flavor.fits"]


def test_warning_of_room_says_which_command_tells_more() -> None:
    (found,) = catalog.check_flavors(cloud(has_room={"1": False}))
    assert "no host has room for its guests now" in found.seen
    assert "sev-doctor plan --flavor m1.sev" in found.remedy


def test_keys_that_are_not_checked_are_named() -> None:
    specs = ON | {"hw:mem_page_size": "large"}
    found = list(catalog.check_flavors(cloud(flavors=(flavor(specs),))))
    assert [f.verdict for f in found] == [Verdict.SKIP, Verdict.PASS]
    assert "hw:mem_page_size" in found[0].seen


@pytest.mark.parametrize(
    ("specs", "asked"),
    [
        (ON, True),
        ({}, False),
        (ON | {"pci_passthrough:alias": "gpu:1"}, False),
        (ON | {"resources:VCPU": "x"}, False),
        # No slot of it is free, as the table of the hosts says; of the last, none is.
        (ON | {MODEL: "amd-sev-es"}, False),
        (ON | {MODEL: "amd-sev-snp"}, False),
    ],
)
def test_placement_is_asked_only_what_is_not_known(
    specs: dict[str, str], asked: bool
) -> None:
    questions = catalog.questions(cloud(flavors=(flavor(specs),)))
    assert list(questions) == ["1"] * asked
    if asked:
        parameters = questions["1"].parameters()
        assert "MEMORY_MB:512" in parameters["resources"]
        assert parameters["required"] == "HW_CPU_X86_AMD_SEV"


@pytest.mark.parametrize("unread", [{"slots": REFUSED}, {"flavors": REFUSED}])
def test_placement_is_asked_nothing_without_slots_or_flavors(
    unread: dict[str, object],
) -> None:
    assert not catalog.questions(cloud(**unread))
