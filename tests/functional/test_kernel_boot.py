# SPDX-License-Identifier: Apache-2.0

"""The kernel of an image is measured with every model, or the guest is refused."""

import pathlib
from collections.abc import Iterator
from typing import Any

import generations
import ovmf_file
import pytest
from generations import ES, IMAGES, SEV, SNP, asking
from nova_cloud import COMPUTE, Cloud, find, instance_of

from sev_driver.compute import kernel_boot
from sev_driver.compute.verdict import KernelBoot

NO_PLACE = "has no place for the hash of the image's kernel"


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with generations.cloud(COMPUTE, es_slots=2) as cloud:
        yield cloud


@pytest.fixture
def firmware(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Have libvirt select a file, whatever guest firmware this machine has."""
    path = tmp_path / "OVMF.fd"
    monkeypatch.setattr(kernel_boot, "_kept", lambda *_: None)
    monkeypatch.setattr(kernel_boot, "_selected", lambda *_: str(path))
    return path


def boot(cloud: Cloud, model: Any, **arguments: Any) -> dict[str, Any]:
    kernel = cloud.image("kernel")
    image = IMAGES[model] | {"kernel_id": kernel}
    return cloud.boot(image, asking(model), **arguments)


@pytest.mark.parametrize("model", [SEV, ES, SNP])
def test_kernel_is_measured(model: Any, cloud: Cloud, firmware: pathlib.Path) -> None:
    firmware.write_bytes(ovmf_file.amdsev())
    server = boot(cloud, model)
    assert find(cloud.defined[-1], "os/kernel") is not None
    assert find(cloud.defined[-1], "launchSecurity").get("kernelHashes") == "yes"
    cloud._delete_server(server)


def test_kernel_that_cannot_be_measured(cloud: Cloud, firmware: pathlib.Path) -> None:
    firmware.write_bytes(ovmf_file.ovmf(*ovmf_file.SECTIONS))
    cloud.defined.clear()
    before = len(cloud.log)
    server = boot(cloud, SNP, state="ERROR")
    assert not cloud.defined
    assert NO_PLACE in cloud.log[before:]
    cloud._delete_server(server)


def test_server_from_before_goes_on_as_it_was(
    cloud: Cloud, firmware: pathlib.Path
) -> None:
    firmware.write_bytes(ovmf_file.amdsev())
    server = boot(cloud, SEV)
    domain = cloud.driver._host.get_guest(instance_of(server))
    xml = cloud.defined[-1].replace(' kernelHashes="yes"', "")
    cloud.driver._host.write_instance_config(xml)
    assert "kernelHashes" not in domain.get_xml_desc()
    firmware.write_bytes(ovmf_file.ovmf(*ovmf_file.SECTIONS))
    before = len(cloud.log)
    cloud.hard_reboot(server)
    assert find(cloud.defined[-1], "launchSecurity").get("kernelHashes") is None
    said = cloud.log[before:]
    assert "Starting the guest as it has run before" in said and NO_PLACE in said
    cloud._delete_server(server)


def test_guests_without_a_kernel_are_not_asked(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> KernelBoot:
        raise AssertionError("the guest firmware of a guest without a kernel")

    monkeypatch.setattr(kernel_boot, "of", fail)
    server = cloud.boot(IMAGES[SEV], asking(SEV))
    assert find(cloud.defined[-1], "launchSecurity").get("kernelHashes") is None
    cloud._delete_server(server)
