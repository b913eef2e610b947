# SPDX-License-Identifier: Apache-2.0

"""What was launched is in the metadata of servers with SEV-SNP, and of no other."""

import inspect
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import generations
import nova_cloud
import ovmf_file
import pytest
from generations import ES, IMAGES, SEV, SNP, asking
from nova.tests.fixtures import libvirt as fakelibvirt
from nova_cloud import UEFI, Cloud, instance_of, move_no_disks

from sev_driver import measurement
from sev_driver.compute.launch_facts import LaunchRecorder
from sev_driver.guest import launched
from sev_driver.measurement import LaunchFacts

KEYS = {launched.PREFIX + name for name in launched.FACTS}
CPU = "<cpu mode='custom'><model>EPYC-Milan</model></cpu>"


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("firmware") / "OVMF.fd"
    path.write_bytes(ovmf_file.amdsev())
    return path


def describe_as_libvirt_does(patch: pytest.MonkeyPatch, firmware: pathlib.Path) -> None:
    """Add to a domain's XML what Nova's fake libvirt leaves out."""
    original = fakelibvirt.Domain.XMLDesc

    def describe(domain: Any, flags: int) -> str:
        text: str = original(domain, flags)
        text = re.sub(r"<loader.*?(/>|</loader>)", "", text)
        loader = f"<loader type='rom'>{firmware}</loader></os>{CPU}"
        return text.replace("</os>", loader)

    patch.setattr(fakelibvirt.Domain, "XMLDesc", describe)


@pytest.fixture(scope="module")
def shared(firmware: pathlib.Path) -> Iterator[Cloud]:
    with (
        nova_cloud.cloud(compute=False) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        cloud.flags(num_sev_es_guests=2, group="sev")
        cloud.flags(allow_resize_to_same_host=True)
        describe_as_libvirt_does(patch, firmware)
        move_no_disks(patch)
        with generations.switched_on(cloud, SEV, ES, SNP):
            generations.start(cloud)
            yield cloud


def metadata(cloud: Cloud, server: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = cloud.api.get_server(server["id"])["metadata"]
    return found


def digest(firmware: pathlib.Path, vcpus: int = 2) -> str:
    if not measurement.is_available():
        return f"unknown: {measurement.NOT_INSTALLED}"
    return measurement.launch_digest(LaunchFacts(str(firmware), vcpus, 0xA00F11))


def test_build_and_hard_reboot(cloud: Cloud, firmware: pathlib.Path) -> None:
    server = cloud.boot(IMAGES[SNP], asking(SNP), metadata={"mine": "yes"})
    first = metadata(cloud, server)
    assert first.keys() == KEYS | {"mine"}
    assert first["sev:launched_digest"] == digest(firmware)
    assert first["sev:launched_firmware_path"] == str(firmware)
    assert first["sev:launched_vcpus"] == "2"
    assert first["sev:launched_cpu"] == "EPYC-Milan 0xa00f11"
    assert first["sev:launched_policy"] == "0x00030000"
    assert first["sev:launched_by"] == "QEMU 10.0.0 libvirt 11.3.0"

    body = {"sev:launched_digest": "forged", "sev:launched_x": "forged"}
    cloud.api.post_server_metadata(server["id"], body)
    assert metadata(cloud, server)["sev:launched_digest"] == "forged"
    cloud.hard_reboot(server)
    assert metadata(cloud, server) == first

    cloud.act(server, {"os-stop": None}, "SHUTOFF")
    body = {"sev:launched_digest": "forged"}
    cloud.api.post_server_metadata(server["id"], body)
    cloud.act(server, {"os-start": None}, "ACTIVE")
    assert metadata(cloud, server) == first
    cloud._delete_server(server)


def test_rebuild_rescue_and_resize(cloud: Cloud, firmware: pathlib.Path) -> None:
    server = cloud.boot(IMAGES[SNP], asking(SNP))
    cloud.act(server, {"rescue": {}}, "RESCUE")
    cloud.act(server, {"unrescue": None}, "ACTIVE")
    assert metadata(cloud, server).keys() == KEYS
    image = cloud.image("another", **IMAGES[SNP])
    rebuild = {"imageRef": image, "metadata": {"mine": "yes"}}
    cloud.act(server, {"rebuild": rebuild}, "ACTIVE")
    assert metadata(cloud, server).keys() == KEYS | {"mine"}

    larger = cloud.flavor("larger", asking(SNP), vcpus=4)
    cloud.act(server, {"resize": {"flavorRef": larger}}, "VERIFY_RESIZE")
    found = metadata(cloud, server)
    assert found["sev:launched_vcpus"] in ("2", "4")
    cloud.act(server, {"revertResize": None}, "ACTIVE")
    assert metadata(cloud, server)["sev:launched_vcpus"] == "2"
    cloud._delete_server(server)


@pytest.mark.parametrize("model", [SEV, ES])
def test_other_models(model: Any, cloud: Cloud) -> None:
    server = cloud.boot(IMAGES[model], asking(model))
    assert metadata(cloud, server) == {}
    cloud.hard_reboot(server)
    assert metadata(cloud, server) == {}
    cloud._delete_server(server)


def test_plain_guests(cloud: Cloud) -> None:
    server = cloud.boot(UEFI, metadata={"sev:launched_digest": "of a user"})
    cloud.hard_reboot(server)
    assert metadata(cloud, server) == {"sev:launched_digest": "of a user"}
    cloud._delete_server(server)


def test_a_server_that_is_no_longer_encrypted(cloud: Cloud) -> None:
    """What an earlier launch was would be wrong."""
    server = cloud.boot(IMAGES[SNP], asking(SNP))
    plain = cloud.flavor("plain", {})
    cloud.act(server, {"resize": {"flavorRef": plain}}, "VERIFY_RESIZE")
    assert metadata(cloud, server) == {}
    cloud._delete_server(server)


def test_the_option(cloud: Cloud) -> None:
    cloud.flags(tell_launch=False, group="sev")
    try:
        server = cloud.boot(IMAGES[SNP], asking(SNP))
        assert metadata(cloud, server) == {}
    finally:
        cloud.flags(tell_launch=True, group="sev")
    cloud._delete_server(server)


def test_a_start_with_the_host(cloud: Cloud, firmware: pathlib.Path) -> None:
    """Nova itself saves nothing after it."""
    server = cloud.boot(IMAGES[SNP], asking(SNP))
    instance = instance_of(server)
    instance.metadata = {"mine": "yes"}
    instance.save()
    context = instance._context
    domain = cloud.driver._host.get_guest(instance)._domain
    domain.destroy()
    arguments: list[Any] = [context, instance, []]
    resume = cloud.driver.resume_state_on_host_boot
    if "share_info" in inspect.signature(resume).parameters:
        arguments.append([])
    resume(*arguments)
    assert metadata(cloud, server).keys() == KEYS | {"mine"}
    cloud._delete_server(server)


def test_a_failure_fails_no_launch(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("anything")

    monkeypatch.setattr(LaunchRecorder, "_observe", fail)
    server = cloud.boot(IMAGES[SNP], asking(SNP))
    assert metadata(cloud, server) == {}
    cloud.hard_reboot(server)
    cloud._delete_server(server)
