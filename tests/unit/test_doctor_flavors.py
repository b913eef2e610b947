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

from __future__ import annotations

import dataclasses

import pytest
from a_cloud import BROKEN, ON, REFUSED, SEV, SLOTS, UEFI, cloud, flavor, image

from sev_driver.doctor import flavors
from sev_driver.doctor.cloud_facts import Slots
from sev_driver.doctor.finding import Verdict

SLOT = {"resources:MEM_ENCRYPTION_CONTEXT": "1"}
MODEL = "hw:mem_encryption_model"
OURS = {"sev:model": "amd-sev-es"} | SLOT
TRAIT = {"trait:HW_CPU_X86_AMD_SEV_ES": "required"}
MARK = {"trait:CUSTOM_AMD_SEV_HOST": "required"}
MIXED = dataclasses.replace(SLOTS, nodes=SLOTS.nodes | {"node2"})

CASES = [
    ("plain", {}, 34, []),
    ("off", {"hw:mem_encryption": "no"}, 34, []),
    ("another vendor's", ON | {MODEL: "intel-tdx"}, 34, []),
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
    ("vgpu", ON | {"resources:VGPU": "1"}, 34, ["fail no-host-device"]),
    ("half", {MODEL: "amd-sev"}, 34, ["warn half"]),
    ("half by slot", SLOT, 34, ["warn half"]),
    ("half by trait", TRAIT, 34, ["warn half"]),
    ("not a number", ON | {"resources:VCPU": "x"}, 34, ["fail amount"]),
    ("any pool", OURS, 34, ["warn pool", "pass fits"]),
    ("its pool", OURS | TRAIT, 34, ["pass fits"]),
    ("older Nova", ON, 31, ["warn pool", "pass fits"]),
    ("older Nova, its pool", ON | OURS | TRAIT, 31, ["pass fits"]),
    ("newer Nova", ON | {"sev:model": "amd-sev-es"}, 32, ["fail agreement"]),
]


@pytest.mark.parametrize(
    ("specs", "nova", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_flavors(specs: dict[str, str], nova: int, expected: list[str]) -> None:
    found = list(flavors.check(cloud(nova=nova, flavors=(flavor(specs),))))
    told = [f"{f.verdict.value} {f.check.id.partition('.')[2]}" for f in found]
    assert told == expected
    assert all(f.check.title == "flavor m1.sev" for f in found)
    assert all(bool(f.remedy) is (f.verdict is not Verdict.PASS) for f in found)


@pytest.mark.parametrize(
    ("specs", "warned"),
    [(OURS | TRAIT, True), (OURS | TRAIT | MARK, False), (ON, False)],
)
def test_hosts_that_would_run_it_in_the_clear(
    specs: dict[str, str], warned: bool
) -> None:
    found = flavors.check(cloud(flavors=(flavor(specs),), slots=MIXED))
    assert (
        any(
            f.check.id == "flavor.stock-host" and "(node2 may)" in f.seen for f in found
        )
        is warned
    )


def test_which_images_fit() -> None:
    (finding,) = flavors.check(cloud())
    assert finding.seen.endswith("; of 2 images 1 fits")
    usb = UEFI | {"hw_disk_bus": "usb"}
    bad = (image({"hw_disk_bus": "usb"}, "worse"), image(usb, "bad"))
    (finding,) = flavors.check(cloud(images=bad))
    assert finding.verdict is Verdict.FAIL
    assert "none fits; the nearest is image bad: hw_disk_bus" in finding.seen
    (finding,) = flavors.check(cloud(images=REFUSED))
    assert finding.verdict is Verdict.PASS and "no image was looked" in finding.seen


def test_an_image_may_deny_what_the_flavor_asks() -> None:
    deny = UEFI | {"hw_mem_encryption": "false"}
    (finding,) = flavors.check(cloud(images=(image(deny),)))
    assert "hw_mem_encryption of image debian denies it" in finding.seen


def test_what_is_not_known_is_not_denied() -> None:
    snp = flavor(ON | {MODEL: "amd-sev-snp"})
    stateless = image(UEFI | {"hw_firmware_stateless": "true"})
    unknown = cloud(flavors=(snp,), images=(stateless,), slots=REFUSED)
    (finding,) = flavors.check(unknown)
    assert finding.verdict is Verdict.PASS
    (skipped,) = flavors.check(cloud(flavors=REFUSED))
    assert skipped.verdict is Verdict.SKIP and not skipped.remedy
    (failed,) = flavors.check(cloud(flavors=BROKEN))
    assert failed.verdict is Verdict.FAIL and failed.seen == "no answer"


def test_a_pool_that_is_wholly_reserved_offers_nothing() -> None:
    gone = dataclasses.replace(SEV, reserved=15, used=0)
    (finding,) = flavors.check(cloud(slots=Slots((gone,), SLOTS.nodes, SLOTS.nodes)))
    assert finding.check.id == "flavor.offered"
