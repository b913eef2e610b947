# SPDX-License-Identifier: Apache-2.0

"""Launch inputs are in the domain of a SEV-SNP guest, and wrong ones are refused."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import generations
import nova_cloud
import owners_keys
import pytest
from generations import ES, IMAGES, SNP, asking
from nova.compute import power_state
from nova.tests.fixtures import libvirt as libvirt
from nova.virt.libvirt import guest as libvirt_guest
from nova_cloud import UEFI, Cloud, find, instance_of, move_no_disks

from sev_driver.compute import launch_facts
from sev_driver.compute.audit import Audit
from sev_driver.compute.guarded_guest import GuardedGuest

DATA = bytes(range(32))
IN_BASE64 = base64.b64encode(DATA).decode()
SCRIPT = b"#cloud-config\npackages: [postgresql]\n"
WRONG = {"sev:host_data": DATA[:31].hex()}
SAID = "sev:host_data of the server has 31 bytes, but AMD SEV-SNP takes 32 bytes"


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with (
        generations.cloud(
            nova_cloud.COMPUTE, es_slots=2, allow_resize_to_same_host=True
        ) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        move_no_disks(patch)
        nova_cloud.cast_resizes(patch)
        yield cloud


def launched(cloud: Cloud) -> tuple[str | None, str | None]:
    """Return policy and host data of the domain that was defined last."""
    security = find(cloud.defined[-1], "launchSecurity")
    assert security.get("type") == "sev-snp"
    return security.findtext("policy"), security.findtext("hostData")


def runs(cloud: Cloud, server: dict[str, Any]) -> bool:
    found: int = cloud.driver.get_info(instance_of(server)).state
    return found == power_state.RUNNING


def test_build_and_hard_reboot(cloud: Cloud) -> None:
    inputs = {"sev:host_data": DATA.hex(), "sev:policy": "SMT|SINGLE_SOCKET"}
    image = IMAGES[SNP] | {"sev_policy": "0x30001"}
    server = cloud.boot(image, asking(SNP), metadata={"sev:host_data": DATA.hex()})
    assert launched(cloud) == ("0x00030001", IN_BASE64)
    instance = instance_of(server)
    assert instance.metadata["sev:host_data"] == DATA.hex()

    cloud.api.post_server_metadata(server["id"], inputs | {"sev:policy": "0x30002"})
    cloud.hard_reboot(server)
    assert launched(cloud) == ("0x00030002", IN_BASE64)
    cloud._delete_server(server)


def test_policy_of_the_flavor(cloud: Cloud) -> None:
    server = cloud.boot(IMAGES[SNP], asking(SNP) | {"sev:policy": "0x30003"})
    assert launched(cloud) == ("0x00030003", None)
    cloud._delete_server(server)


def test_user_data(cloud: Cloud) -> None:
    script = base64.b64encode(SCRIPT).decode()
    server = cloud.boot(
        IMAGES[SNP],
        asking(SNP),
        user_data=script,
        metadata={"sev:host_data": "user_data"},
    )
    expected = base64.b64encode(hashlib.sha256(SCRIPT).digest()).decode()
    assert launched(cloud) == ("0x00030000", expected)

    other = base64.b64encode(b"#!/bin/sh\n").decode()
    image = cloud.image("for-user-data", **IMAGES[SNP])
    rebuild = {"imageRef": image, "user_data": other}
    cloud.act(server, {"rebuild": rebuild}, "ACTIVE")
    expected = base64.b64encode(hashlib.sha256(b"#!/bin/sh\n").digest()).decode()
    assert launched(cloud) == ("0x00030000", expected)
    cloud._delete_server(server)


@pytest.mark.parametrize(
    ("image", "flavor", "metadata", "said"),
    [
        (IMAGES[SNP], asking(SNP), WRONG, SAID),
        (IMAGES[SNP], asking(SNP), {"sev:policy": "0xb0000"}, "allow_debug is False"),
        (IMAGES[SNP] | {"sev_policy": "1"}, asking(SNP), {}, "sev_policy of image"),
        (IMAGES[SNP], asking(SNP) | {"sev:policy": "1"}, {}, "sev:policy of flavor"),
        (UEFI, asking(ES), {"sev:policy": "0x30000"}, "with AMD SEV-ES:"),
        (UEFI | {"sev_host_data": DATA.hex()}, {}, {}, "the guest is not encrypted"),
    ],
)
def test_wrong_inputs_end_the_build(  # one of each source and kind of guest
    image: dict[str, str],
    flavor: dict[str, str],
    metadata: dict[str, str],
    said: str,
    cloud: Cloud,
) -> None:
    cloud.defined.clear()
    server = cloud.boot(image, flavor, metadata=metadata, state="ERROR")
    assert said in cloud.fault(server)
    assert not cloud.defined
    cloud._delete_server(server)


def test_option_switches_inputs_off(cloud: Cloud) -> None:
    cloud.flags(owner_inputs=False, group="sev")
    try:
        inputs = {"sev:host_data": DATA.hex()}
        server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=inputs, state="ERROR")
        assert "[sev] owner_inputs is False on this host" in cloud.fault(server)
        cloud._delete_server(server)
        server = cloud.boot(IMAGES[SNP], asking(SNP))
    finally:
        cloud.flags(owner_inputs=True, group="sev")
    assert launched(cloud) == ("0x00030000", None)
    cloud._delete_server(server)


def resize(cloud: Cloud) -> dict[str, Any]:
    larger = cloud.flavor("larger", asking(SNP), vcpus=4)
    return {"resize": {"flavorRef": larger}}


def rebuild(cloud: Cloud) -> dict[str, Any]:
    return {"rebuild": {"imageRef": cloud.image("another", **IMAGES[SNP])}}


OPERATIONS: dict[str, Callable[[Cloud], dict[str, Any]]] = {
    "hard reboot": lambda _: {"reboot": {"type": "HARD"}},
    "soft reboot": lambda _: {"reboot": {"type": "SOFT"}},
    "rescue": lambda _: {"rescue": {}},
    "shelve": lambda _: {"shelve": None},
    "resize": resize,
    "rebuild": rebuild,
}


def test_inputs_made_wrong_leave_the_server_as_it_is(cloud: Cloud) -> None:
    server = cloud.boot(IMAGES[SNP], asking(SNP))
    cloud.api.post_server_metadata(server["id"], WRONG)
    cloud.defined.clear()

    for name, operation in OPERATIONS.items():
        before = len(cloud.log)
        cloud.attempt(server, operation(cloud), "ACTIVE")
        assert runs(cloud, server) and not cloud.defined, name
        assert SAID in cloud.last_event(server) + cloud.log[before:], name

    cloud.api.post_server_metadata(server["id"], {"sev:host_data": DATA.hex()})
    cloud.hard_reboot(server)
    assert launched(cloud) == ("0x00030000", IN_BASE64)
    cloud._delete_server(server)


def test_start(cloud: Cloud) -> None:
    server = cloud.boot(IMAGES[SNP], asking(SNP))
    cloud.act(server, {"os-stop": None}, "SHUTOFF")
    cloud.api.post_server_metadata(server["id"], WRONG)
    cloud.attempt(server, {"os-start": None}, "SHUTOFF")
    assert not runs(cloud, server) and SAID in cloud.log
    cloud.api.post_server_metadata(server["id"], {"sev:host_data": DATA.hex()})
    cloud.act(server, {"os-start": None}, "ACTIVE")
    assert launched(cloud) == ("0x00030000", IN_BASE64)
    cloud._delete_server(server)


def test_resize_away_from_snp(cloud: Cloud) -> None:
    """The owner would get a guest without what was asked for."""
    inputs = {"sev:host_data": DATA.hex()}
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=inputs)
    for name, specs in (("plain", {}), ("of-es", asking(ES))):
        flavor = cloud.flavor(name, specs)
        cloud.attempt(server, {"resize": {"flavorRef": flavor}}, "ACTIVE")
        assert runs(cloud, server)
        assert "is a launch input of AMD SEV-SNP" in cloud.last_event(server)
    cloud._delete_server(server)


def test_audit_accepts_the_inputs_of_the_last_launch(cloud: Cloud) -> None:
    """Metadata can change while the guest runs, and then applies at the next launch."""
    inputs = {"sev:host_data": DATA.hex(), "sev:policy": "0x30001"}
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=inputs)
    before = len(cloud.log)
    audit = Audit(cloud.driver._host, stop=True)
    for now in ({"sev:host_data": "11" * 32}, {"sev:host_data": "x"}):
        cloud.api.post_server_metadata(server["id"], now)
        audit.run(nova_cloud.COMPUTE)
    assert "Audit" not in cloud.log[before:] and audit.failures == 0
    cloud.api.post_server_metadata(server["id"], {"sev:policy": "0x30002"})
    audit.run(nova_cloud.COMPUTE)
    said = "weaker than 0x00030002 of sev:policy of the server by VERSION"
    assert said in cloud.log[before:]
    cloud._delete_server(server)


def test_soft_reboot_with_other_inputs(cloud: Cloud) -> None:
    """It would start the guest with those of the last launch."""
    inputs = {"sev:host_data": DATA.hex()}
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=inputs)
    cloud.api.post_server_metadata(server["id"], {"sev:host_data": "11" * 32})
    cloud.attempt(server, {"reboot": {"type": "SOFT"}}, "ACTIVE")
    assert runs(cloud, server)
    assert "hostData of other launch inputs: hard reboot the server" in cloud.log
    cloud._delete_server(server)


def test_plain_guests_take_no_step_more(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("launch inputs of a server without any")

    monkeypatch.setattr("sev_driver.guest.launch_inputs.parse", fail)
    server = cloud.boot(UEFI, metadata={"sev:launched_digest": "x", "mine": "yes"})
    cloud.hard_reboot(server)
    cloud._delete_server(server)
    server = cloud.boot(IMAGES[SNP], asking(SNP))
    cloud.hard_reboot(server)
    cloud._delete_server(server)


SIGNED = owners_keys.as_metadata(*owners_keys.sign(author=owners_keys.AUTHOR_KEY))


def test_id_block(cloud: Cloud) -> None:
    block, auth = owners_keys.sign(author=owners_keys.AUTHOR_KEY)
    inputs = owners_keys.as_metadata(block, auth)
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=inputs)
    security = find(cloud.defined[-1], "launchSecurity")
    assert security.get("authorKey") == "yes"
    assert base64.b64decode(security.findtext("idBlock") or "") == block
    assert base64.b64decode(security.findtext("idAuth") or "") == auth

    cloud.api.post_server_metadata(server["id"], {"sev:id_auth_1": "x"})
    cloud.attempt(server, {"reboot": {"type": "HARD"}}, "ACTIVE")
    assert runs(cloud, server) and "sev:id_auth_* of the server is not" in cloud.log
    cloud.api.post_server_metadata(server["id"], inputs)
    cloud.hard_reboot(server)
    assert find(cloud.defined[-1], "launchSecurity/idBlock") is not None
    cloud._delete_server(server)


def test_wrong_id_block_ends_the_build(cloud: Cloud) -> None:
    inputs = owners_keys.as_metadata(owners_keys.sign(svn=1)[0], owners_keys.sign()[1])
    cloud.defined.clear()
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=inputs, state="ERROR")
    said = "has a wrong signature of the ID block"
    assert said in cloud.fault(server) and not cloud.defined
    cloud._delete_server(server)


def test_id_block_for_the_firmware_of_another_host(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_facts, "expected_digest", lambda *_: "ab" * 48)
    cloud.defined.clear()
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=SIGNED, state="ERROR")
    assert not cloud.defined
    said = "but this host would launch abababab"
    assert said in cloud.log, cloud.fault(server)
    cloud._delete_server(server)


def test_secure_processor_that_refuses_the_launch(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It measured another firmware than nova-compute sees."""
    said = "SNP_LAUNCH_FINISH ret=-5 fw_error={}"

    def fail(code: int) -> None:
        def launch(self: Any, pause: bool = False) -> None:
            raise libvirt.libvirtError(said.format(code))

        monkeypatch.setattr(GuardedGuest, "launch", launch)
        monkeypatch.setattr(libvirt_guest.Guest, "launch", launch)

    fail(10)
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=SIGNED, state="ERROR")
    assert "the secure processor denies a signature" in cloud.fault(server)
    cloud._delete_server(server)
    # Another host may have the firmware.
    fail(11)
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata=SIGNED, state="ERROR")
    assert "the secure processor measured another" in cloud.log
    cloud._delete_server(server)
