# SPDX-License-Identifier: Apache-2.0

"""encryption: one call makes a domain an encrypted one, or refuses."""

import pytest
from lxml import etree

from sev_driver.domain import transforms, verify
from sev_driver.domain.encryption import encrypt, redefinable
from sev_driver.domain.launch_security import Policies
from sev_driver.exceptions import EncryptionLost, Requirement, RequirementsNotMet
from sev_driver.guest.requirements import GuestRequest
from sev_driver.model import MemoryEncryptionModel

SEV = MemoryEncryptionModel.AMD_SEV
REQUEST = GuestRequest(SEV, ("hw:mem_encryption of flavor m1.sev",))
LAUNCH = Policies().launch_security(SEV)
IDE = "<disk><target dev='hda' bus='ide'/></disk>"


def domain(*devices: str) -> str:
    return f"<domain><os/><devices>{''.join(devices)}</devices></domain>"


@pytest.mark.parametrize("model", MemoryEncryptionModel)
def test_domain_is_encrypted(model: MemoryEncryptionModel) -> None:
    launch = Policies().launch_security(model)
    xml = encrypt(domain(), GuestRequest(model, ("a flavor",)), launch)
    verify.verify_domain(launch, xml)


def test_forbidden_device_is_refused() -> None:
    with pytest.raises(RequirementsNotMet, match="flavor m1") as caught:
        encrypt(domain(IDE), REQUEST, LAUNCH)
    assert [v.requirement for v in caught.value.violations] == [
        Requirement.NO_IDE,
    ]


def test_result_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "TRANSFORMS", ())
    with pytest.raises(EncryptionLost, match="no launchSecurity"):
        encrypt(domain(), REQUEST, LAUNCH)


#: As libvirt 9.0 has it of a running guest: the firmware is selected and named.
RUNNING = """<domain type="kvm">
  <name>guest</name>
  <os{firmware}>
    <type machine="pc-q35-7.2">hvm</type>
    <firmware>
      <feature enabled="no" name="secure-boot"/>
    </firmware>
    <loader readonly="yes" type="pflash">/usr/share/OVMF/OVMF_CODE.fd</loader>
    <nvram template="/usr/share/OVMF/OVMF_VARS.fd">/var/guest.fd</nvram>
    <boot dev="hd"/>
  </os>
  <devices/>
  <launchSecurity{kind}>
    <policy>0x0033</policy>
  </launchSecurity>
</domain>"""


def running(kind: str = "sev", firmware: str = "") -> str:
    return RUNNING.format(
        kind=f' type="{kind}"' if kind else "",
        firmware=f' firmware="{firmware}"' if firmware else "",
    )


@pytest.mark.parametrize("kind", ["sev", "sev-snp"])
def test_redefinable_domain_has_no_features_of_a_selection_that_is_over(
    kind: str,
) -> None:
    before = etree.fromstring(running(kind))
    after = etree.fromstring(redefinable(running(kind)))

    assert after.find("os/firmware") is None
    before.find("os").remove(before.find("os/firmware"))  # type: ignore[union-attr]
    assert [(e.tag, e.attrib) for e in after.iter()] == [
        (e.tag, e.attrib) for e in before.iter()
    ]


@pytest.mark.parametrize(
    "xml",
    [
        running(kind="tdx"),
        running(kind=""),
        running().replace("launchSecurity", "metadata"),
        running(firmware="efi"),
        redefinable(running()),
        "<domain><launchSecurity type='sev'/></domain>",
        "<launchSecurity",
        "<launchSecurity type='sev'><os/></launchSecurity>",
    ],
    ids=["tdx", "no-type", "plain", "selects", "again", "no-os", "no-xml", "no-domain"],
)
def test_redefinable_leaves_all_others_byte_for_byte(xml: str) -> None:
    assert redefinable(xml) is xml
