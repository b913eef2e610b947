# SPDX-License-Identifier: Apache-2.0

"""A host says by a trait which guest firmware it launches guests with SEV-SNP with."""

import hashlib
import pathlib
from collections.abc import Iterator

import generations
import nova_cloud
import ovmf_file
import pytest
from generations import ES, IMAGES, SEV, SNP, asking
from nova_cloud import COMPUTE, Cloud

from sev_driver.compute import launch_facts
from sev_driver.exceptions import DetectionError

PROVIDER = f"{COMPUTE}_amd_sev_snp"
PREFIX = "CUSTOM_SEV_FIRMWARE_"


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("firmware") / "OVMF.fd"


@pytest.fixture(scope="module")
def shared(firmware: pathlib.Path) -> Iterator[Cloud]:
    with (
        nova_cloud.cloud(compute=False) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        # Whatever guest firmware this machine has.
        patch.setattr(launch_facts, "selected_firmware", lambda _: str(firmware))
        with generations.switched_on(cloud, SEV, ES, SNP):
            generations.start(cloud)
            yield cloud


def named(cloud: Cloud) -> set[str]:
    return {name for name in cloud.traits(PROVIDER) if name.startswith(PREFIX)}


def trait(data: bytes) -> str:
    return PREFIX + hashlib.sha256(data).hexdigest()[:12].upper()


def test_trait_follows_the_firmware(cloud: Cloud, firmware: pathlib.Path) -> None:
    for data in (ovmf_file.amdsev(), ovmf_file.debian()):
        firmware.write_bytes(data)
        cloud._run_periodics()
        assert named(cloud) == {trait(data)}
    # It is then unknown, and no image finds the host by it.
    firmware.unlink()
    cloud._run_periodics()
    assert named(cloud) == set()


def test_other_providers_have_none(cloud: Cloud, firmware: pathlib.Path) -> None:
    firmware.write_bytes(ovmf_file.amdsev())
    cloud._run_periodics()
    for provider in (COMPUTE, f"{COMPUTE}_amd_sev"):
        assert not any(name.startswith(PREFIX) for name in cloud.traits(provider))


@pytest.mark.parametrize("data", [ovmf_file.amdsev(), b"another"])
def test_image_requires_the_firmware_of_its_id_block(
    cloud: Cloud, firmware: pathlib.Path, data: bytes
) -> None:
    firmware.write_bytes(ovmf_file.amdsev())
    cloud._run_periodics()
    image = IMAGES[SNP] | {f"trait:{trait(data)}": "required"}
    if data == ovmf_file.amdsev():
        cloud._delete_server(cloud.boot(image, asking(SNP)))
        return
    server = cloud.boot(image, asking(SNP), state="ERROR")
    assert "No valid host was found" in cloud.fault(server)
    cloud._delete_server(server)


def test_firmware_that_nobody_selects_has_no_trait(
    cloud: Cloud, firmware: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: object) -> str:
        raise DetectionError("it is unknown which guest firmware libvirt selects")

    firmware.write_bytes(ovmf_file.amdsev())
    cloud._run_periodics()
    assert named(cloud)
    monkeypatch.setattr(launch_facts, "selected_firmware", unknown)
    cloud._run_periodics()
    assert not named(cloud)
