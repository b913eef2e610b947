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

"""domain: goldens of whole domains, and each transform on its own.

``REGENERATE_GOLDENS=1 pytest tests/unit/test_domain.py`` writes the goldens anew.
"""

import itertools
import os
import pathlib

import pytest
from lxml import etree

from sev_driver import domain, safe_xml
from sev_driver.exceptions import DomainXMLError
from sev_driver.launch_security import LaunchSecurity
from sev_driver.policy import DEFAULT_SEV_POLICY

DATA = pathlib.Path(__file__).parent.parent / "data" / "domain"
CASES = sorted(path.name.removesuffix(".in.xml") for path in DATA.glob("*.in.xml"))
PLAN = domain.Plan(LaunchSecurity(DEFAULT_SEV_POLICY))


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    golden = DATA / f"{case}.out.xml"
    result = domain.apply(PLAN, (DATA / f"{case}.in.xml").read_text())
    if os.environ.get("REGENERATE_GOLDENS"):
        golden.write_text(result)
    assert result == golden.read_text()


@pytest.mark.parametrize("case", CASES)
def test_applied_twice_is_applied_once(case: str) -> None:
    once = domain.apply(PLAN, (DATA / f"{case}.in.xml").read_text())
    assert domain.apply(PLAN, once) == once


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_the_transforms_does_not_matter(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    xml = (DATA / f"{case}.in.xml").read_text()
    results = set()
    for order in itertools.permutations(domain.TRANSFORMS):
        monkeypatch.setattr(domain, "TRANSFORMS", order)
        root = safe_xml.parse(domain.apply(PLAN, xml), indent=True)
        # libvirt does not care for the order of a domain's own children.
        root[:] = sorted(root, key=lambda child: child.tag)
        results.add(etree.tostring(root))
    assert len(results) == 1


def apply(body: str) -> etree._Element:
    xml = body if body.startswith("<domain") else f"<domain>{body}</domain>"
    if "<os" not in xml:
        xml = xml.replace("</domain>", "<os/></domain>")
    if "<devices" not in xml:
        xml = xml.replace("</domain>", "<devices/></domain>")
    return safe_xml.parse(domain.apply(PLAN, xml))


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


def test_a_firmware_chosen_before_is_kept() -> None:
    loader = apply(
        "<os><loader readonly='yes' secure='no' type='pflash'>/OVMF.fd</loader></os>"
    ).find("os/loader")
    assert (loader.text, loader.get("secure")) == ("/OVMF.fd", "no")


def test_memory_is_locked_and_its_backing_kept() -> None:
    backing = apply("<memoryBacking><hugepages/></memoryBacking>").find("memoryBacking")
    assert [child.tag for child in backing] == ["hugepages", "locked"]


def test_vmcoreinfo_goes_and_other_features_stay() -> None:
    result = apply("<features><acpi/><vmcoreinfo/></features>").find("features")
    assert [child.tag for child in result] == ["acpi"]


def test_launch_security_of_another_hand_is_replaced() -> None:
    result = apply("<launchSecurity type='tdx'/><launchSecurity/>")
    (element,) = result.findall("launchSecurity")
    assert LaunchSecurity.from_element(element) == PLAN.launch_security


@pytest.mark.parametrize("xml", ["", "<domain", "<network/>", "<domain/>"])
def test_what_is_no_domain_is_refused(xml: str) -> None:
    with pytest.raises(DomainXMLError):
        domain.apply(PLAN, xml)


SCHEMA = pathlib.Path("/usr/share/libvirt/schemas/domain.rng")


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"libvirt's {SCHEMA} is not installed")
@pytest.mark.parametrize("case", CASES)
def test_libvirts_schema_accepts_the_golden(case: str) -> None:
    schema = etree.RelaxNG(etree.parse(SCHEMA))
    schema.assertValid(etree.parse(DATA / f"{case}.out.xml"))
