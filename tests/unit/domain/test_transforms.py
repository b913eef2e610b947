# SPDX-License-Identifier: Apache-2.0

"""domain: goldens of whole domains, and each transform on its own.

``REGENERATE_GOLDENS=1 pytest tests/unit/domain/test_transforms.py`` writes the goldens.
"""

import dataclasses
import itertools
import os
import pathlib
import sys

import pytest
from lxml import etree

from sev_driver import safe_xml
from sev_driver.domain import launch_security, transforms
from sev_driver.domain.launch_security import Policies, SnpLaunchSecurity
from sev_driver.domain.transforms import EncryptionPlan
from sev_driver.domain.xml import parse_domain
from sev_driver.exceptions import DomainXMLError
from sev_driver.guest.policy import DEFAULT_SNP_POLICY
from sev_driver.model import MemoryEncryptionModel

DATA = pathlib.Path(__file__).parents[2] / "data" / "domain"
CASES = sorted(path.name.removesuffix(".in.xml") for path in DATA.glob("*.in.xml"))
PLANS = {
    model: EncryptionPlan(Policies().launch_security(model))
    for model in MemoryEncryptionModel
}
PLAN = PLANS[MemoryEncryptionModel.AMD_SEV]
ES = PLANS[MemoryEncryptionModel.AMD_SEV_ES]
SNP = PLANS[MemoryEncryptionModel.AMD_SEV_SNP]


def transformed(plan: EncryptionPlan, xml: str) -> str:
    root = parse_domain(xml, indent=True)
    transforms.apply(plan, root)
    return safe_xml.render(root)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_golden(case: str, model: MemoryEncryptionModel) -> None:
    golden = DATA / model.value / f"{case}.out.xml"
    result = transformed(PLANS[model], (DATA / f"{case}.in.xml").read_text())
    if os.environ.get("REGENERATE_GOLDENS"):
        golden.write_text(result)
    assert result == golden.read_text()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("plan", PLANS.values(), ids=lambda plan: plan.model.value)
def test_applied_twice_is_applied_once(case: str, plan: EncryptionPlan) -> None:
    once = transformed(plan, (DATA / f"{case}.in.xml").read_text())
    assert transformed(plan, once) == once


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("plan", PLANS.values(), ids=lambda plan: plan.model.value)
def test_the_order_of_the_transforms_does_not_matter(
    case: str, plan: EncryptionPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    xml = (DATA / f"{case}.in.xml").read_text()
    results = set()
    for order in itertools.permutations(transforms.TRANSFORMS):
        monkeypatch.setattr(transforms, "TRANSFORMS", order)
        root = safe_xml.parse(transformed(plan, xml), indent=True)
        # libvirt does not care for the order of a domain's own children.
        root[:] = sorted(root, key=lambda child: child.tag)
        results.add(etree.tostring(root))
    assert len(results) == 1


def apply(body: str, plan: EncryptionPlan = PLAN) -> etree._Element:
    xml = body if body.startswith("<domain") else f"<domain>{body}</domain>"
    if "<os" not in xml:
        xml = xml.replace("</domain>", "<os/></domain>")
    if "<devices" not in xml:
        xml = xml.replace("</domain>", "<devices/></domain>")
    return safe_xml.parse(transformed(plan, xml))


def test_a_virtio_channel_gets_its_controller_by_name() -> None:
    channel = "<channel type='unix'><target type='virtio' name='a'/></channel>"
    controllers = apply(f"<devices>{channel}</devices>").findall("devices/controller")
    assert [c.get("type") for c in controllers] == ["virtio-serial"]
    assert controllers[0].find("driver").get("iommu") == "on"


def features(element: etree._Element) -> dict[str, str]:
    return {
        f.get("name"): f.get("enabled") for f in element.iterfind("firmware/feature")
    }


@pytest.mark.parametrize(
    ("os", "expected"),
    [
        ("<os firmware='efi'/>", {"secure-boot": "no", "enrolled-keys": "no"}),
        (
            "<os firmware='efi'><loader secure='no'/></os>",
            {"secure-boot": "no", "enrolled-keys": "no"},
        ),
        ("<os firmware='efi'><loader secure='yes'/></os>", {"secure-boot": "yes"}),
        (
            "<os firmware='efi'><firmware><feature enabled='yes' name='secure-boot'/>"
            "</firmware><loader secure='yes'/></os>",
            {"secure-boot": "yes"},
        ),
        ("<os><loader type='pflash'>/OVMF.fd</loader></os>", {}),
        ("<os/>", {}),
    ],
)
def test_firmware_is_asked_for_by_features(os: str, expected: dict[str, str]) -> None:
    result = apply(os).find("os")
    assert features(result) == expected
    if result.get("firmware") == "efi":
        # libvirt 9.0 refuses the attribute beside automatic selection.
        assert result.find("loader[@secure]") is None


NOVAS_SECURE_BOOT = {
    # Nova 27 to 32: a firmware by name, and SMM.
    "by loader": "<loader type='pflash' secure='yes'>/OVMF_CODE.secboot.fd</loader>",
    "by attribute": "<loader secure='yes'/>",
    "by feature": "<firmware><feature enabled='yes' name='secure-boot'/></firmware>",
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=lambda plan: plan.model.value)
@pytest.mark.parametrize("way", NOVAS_SECURE_BOOT)
def test_secure_boot_is_kept_where_the_model_has_smm(
    way: str, plan: EncryptionPlan
) -> None:
    os = f"<os firmware='efi'>{NOVAS_SECURE_BOOT[way]}</os>"
    xml = f"{os}<features><acpi/><smm state='on'/></features>"
    again = dataclasses.replace(plan, reselect_firmware=way == "by loader")
    domain = apply(xml, again)
    on = {"secure-boot": "yes"}
    off = {"secure-boot": "no", "enrolled-keys": "no"}
    assert features(domain.find("os")) == (on if plan is PLAN else off)
    assert (domain.find("features/smm") is not None) is (plan is PLAN)


def test_a_firmware_chosen_before_is_kept() -> None:
    loader = apply(
        "<os><loader readonly='yes' secure='no' type='pflash'>/OVMF.fd</loader></os>"
    ).find("os/loader")
    assert (loader.text, loader.get("secure")) == ("/OVMF.fd", "no")


def test_memory_is_locked_and_its_backing_kept() -> None:
    backing = apply("<memoryBacking><hugepages/></memoryBacking>").find("memoryBacking")
    assert [child.tag for child in backing] == ["hugepages", "locked"]


def test_the_kernel_keeps_snp_memory_and_nothing_locks_it() -> None:
    locked = apply("<memoryBacking><locked/></memoryBacking>", SNP)
    assert locked.find("memoryBacking") is None
    huge = apply("<memoryBacking><hugepages/><locked/></memoryBacking>", SNP)
    assert [child.tag for child in huge.find("memoryBacking")] == ["hugepages"]


def test_snp_memory_that_shall_be_locked_stays_locked() -> None:
    plan = dataclasses.replace(SNP, keeps_locked_memory=True)
    locked = apply("<memoryBacking><locked/></memoryBacking>", plan)
    assert locked.find("memoryBacking/locked") is not None
    assert apply("", plan).find("memoryBacking") is None


def test_snp_has_stateless_firmware() -> None:
    loader = apply("<os firmware='efi'/>", SNP).find("os/loader")
    assert (loader.get("stateless"), loader.text) == ("yes", None)
    assert apply("<os firmware='efi'/>", ES).find("os/loader") is None


OTHERS_FIRMWARE = (
    "<os><type machine='q35'>hvm</type>"
    "<loader type='pflash' readonly='yes'>/OVMF_CODE.fd</loader>"
    "<nvram template='/OVMF_VARS.fd'/><boot dev='hd'/></os>"
)


@pytest.mark.parametrize("plan", [ES, SNP], ids=lambda plan: plan.model.value)
def test_a_firmware_for_other_guests_is_selected_anew(plan: EncryptionPlan) -> None:
    os = apply(OTHERS_FIRMWARE, dataclasses.replace(plan, reselect_firmware=True)).find(
        "os"
    )
    assert os.get("firmware") == "efi"
    assert os.find("nvram") is None and "/OVMF" not in etree.tostring(os).decode()
    assert os.find("boot") is not None


@pytest.mark.parametrize(
    ("kernel", "hashes"), [("<kernel>/vmlinuz</kernel>", "yes"), ("", "no")]
)
def test_a_kernel_that_the_host_loads_is_measured(kernel: str, hashes: str) -> None:
    element = apply(f"<os>{kernel}</os>", SNP).find("launchSecurity")
    assert element.get("kernelHashes") == hashes


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_kernel_is_measured_with_every_model(model: MemoryEncryptionModel) -> None:
    plan = PLANS[model]
    xml = "<os><kernel>/vmlinuz</kernel></os>"
    assert apply(xml, plan).find("launchSecurity").get("kernelHashes") == "yes"
    # One that has run without, on a firmware that has no place for the hashes.
    plan = dataclasses.replace(plan, measures_kernel=False)
    assert apply(xml, plan).find("launchSecurity").get("kernelHashes") in (None, "no")


def test_vmcoreinfo_goes_and_other_features_stay() -> None:
    result = apply("<features><acpi/><vmcoreinfo/></features>").find("features")
    assert [child.tag for child in result] == ["acpi"]


def test_launch_security_of_another_hand_is_replaced() -> None:
    result = apply("<launchSecurity type='tdx'/><launchSecurity/>")
    (element,) = result.findall("launchSecurity")
    assert launch_security.from_element(element) == PLAN.launch_security


@pytest.mark.parametrize("xml", ["", "<domain", "<network/>", "<domain/>"])
def test_what_is_no_domain_is_refused(xml: str) -> None:
    with pytest.raises(DomainXMLError):
        transformed(PLAN, xml)


@pytest.mark.parametrize("tag", ["os", "memoryBacking", "features", "devices"])
def test_what_libvirt_would_read_twice_is_refused(tag: str) -> None:
    xml = f"<domain><os/><devices/><{tag}/><{tag}/></domain>"
    with pytest.raises(DomainXMLError, match=f"more than one <{tag}>"):
        transformed(PLAN, xml)


#: libvirt's own, of this machine and of Debian 13, whose libvirt has sev-snp.
SCHEMAS = [
    pathlib.Path(root, "usr/share/libvirt/schemas/domain.rng")
    for root in ("/", f"{sys.prefix}/rootfs/trixie")
]


@pytest.mark.parametrize("path", SCHEMAS, ids=["this machine", "Debian 13"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_libvirts_schema_accepts_the_golden(
    case: str, model: MemoryEncryptionModel, path: pathlib.Path
) -> None:
    if not path.exists():
        pytest.skip(f"no {path}: make setup, make setup-trixie")
    known = path.with_name("domaincommon.rng").read_text()
    if model.value == "amd-sev-snp" and "sev-snp" not in known:
        pytest.skip("libvirt older than 10.5 has no sev-snp")
    schema = etree.RelaxNG(etree.parse(path))
    schema.assertValid(etree.parse(DATA / model.value / f"{case}.out.xml"))


def test_libvirts_schema_accepts_launch_inputs() -> None:
    path = SCHEMAS[-1]
    if not path.exists():
        pytest.skip(f"no {path}: make setup-trixie")
    golden = etree.parse(DATA / "amd-sev-snp" / f"{CASES[0]}.out.xml").getroot()
    launch = SnpLaunchSecurity(
        DEFAULT_SNP_POLICY,
        host_data=bytes(32),
        id_block=bytes(96),
        id_auth=bytes(4096),
    )
    transforms.set_launch_security(golden, EncryptionPlan(launch))
    assert golden.find("launchSecurity/hostData") is not None
    etree.RelaxNG(etree.parse(path)).assertValid(golden)


@pytest.mark.parametrize("path", SCHEMAS, ids=["this machine", "Debian 13"])
def test_libvirts_schema_accepts_hashes_of_a_kernel_with_sev(
    path: pathlib.Path,
) -> None:
    if not path.exists():
        pytest.skip(f"no {path}: make setup, make setup-trixie")
    golden = etree.parse(DATA / "amd-sev" / f"{CASES[0]}.out.xml").getroot()
    golden.find("launchSecurity").set("kernelHashes", "yes")
    etree.RelaxNG(etree.parse(path)).assertValid(golden)
