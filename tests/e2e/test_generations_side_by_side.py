# SPDX-License-Identifier: Apache-2.0

"""SEV, SEV-ES and SEV-SNP on one host, whose slots two of them share."""

import base64
import contextlib
import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import owners_keys
import pytest
from lab import eventually
from split_cloud import GENERATIONS, HOST, NONE_USED, NOVA, SEV, SEV_ES, SNP, Split

from devcloud.restarts import Restarts
from devcloud.simhost import userland
from devcloud.simhost.layout import BIN


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    if not userland.is_here("trixie"):
        pytest.skip("Debian 13 is not unpacked: make setup-trixie")
    state = tmp_path_factory.mktemp("split")
    host = {"distribution": "trixie", "halting_firmware": True}
    with Split(state, nova=NOVA, **HOST, **host) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def debian_12(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    state, host = tmp_path_factory.mktemp("debian-12"), {"halting_firmware": True}
    with Split(state, nova=NOVA, **HOST, **host) as cloud:
        yield cloud


def test_all_three_run_side_by_side_and_each_takes_a_slot_of_its_own(
    split: Split,
) -> None:
    assert split.inventory() == {SEV: (10, 0), SEV_ES: (2, 0), SNP: (3, 0)}

    servers = {name: split.boot_one(name) for name in GENERATIONS}
    plain = split.boot("plain", split.plain, split.bios)

    for name, server in servers.items():
        split.see_encrypted(server, name)
    assert split.usage() == {SEV: 1, SEV_ES: 1, SNP: 1}
    assert split.held() == {"sev": 1, "sev_es_snp": 2}
    assert plain.status == "ACTIVE", plain.fault
    domain = split.domain(plain)
    assert domain.launch_security is None
    assert domain.loader is None
    assert not domain.locked
    assert not any(domain.virtio.values())

    for server in (*servers.values(), plain):
        split.delete(server)
    eventually("all slots are free", lambda: split.usage() == NONE_USED)
    assert split.held() == {"sev": 0, "sev_es_snp": 0}


@pytest.mark.parametrize("name", ["es", "snp"])
def test_it_lives_as_other_guests_do(split: Split, name: str) -> None:
    server = split.boot_one(name)
    for action, parameters in (
        ("reboot", {"type": "SOFT"}),
        ("reboot", {"type": "HARD"}),
        ("os-stop", None),
        ("os-start", None),
        ("rescue", {"rescue_image_ref": split.bios}),
        ("unrescue", None),
        ("rebuild", {"imageRef": split.parts[name][1]}),
    ):
        split.do(server, action, parameters)
        split.see_encrypted(server, name)
        running = {GENERATIONS[name].pool: int(action != "os-stop")}
        assert split.held() == {"sev": 0, "sev_es_snp": 0} | running, action
        assert split.usage() == NONE_USED | {GENERATIONS[name].provider: 1}
    split.delete(server)
    eventually("its slot is free", lambda: split.usage() == NONE_USED)


#: What an image may say of devices and firmware, and words of the refusal, by model;
#: None where the guest starts.
SMM = "Secure Boot needs SMM, which AMD SEV-"
PROPERTIES: dict[str, tuple[dict[str, str], dict[str, str | None]]] = {
    "secure-boot-required": (
        {"os_secure_boot": "required"},
        {"sev": None, "es": SMM, "snp": SMM},
    ),
    "secure-boot-optional": ({"os_secure_boot": "optional"}, {"es": None, "snp": None}),
    "viommu": (
        {"hw_viommu_model": "virtio"},
        {"sev": "a virtual IOMMU that libvirt rejects"},
    ),
    "virtio-devices": (
        {
            "hw_sound_model": "virtio",
            "hw_video_model": "virtio",
            "hw_input_bus": "virtio",
            "hw_pointer_model": "usbtablet",
            "hw_rng_model": "virtio",
            "hw_qemu_guest_agent": "yes",
            "hw_virtio_packed_ring": "true",
        },
        {"sev": None, "snp": None},
    ),
}


@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case, (_, words) in PROPERTIES.items() for name in words],
)
def test_what_an_image_says_of_devices_starts_or_is_refused_in_words(
    split: Split, case: str, name: str
) -> None:
    properties, words = PROPERTIES[case]
    stateless = {"hw_firmware_stateless": "true"} if name == "snp" else {}
    image = split.make_image(
        f"{case}-{name}", hw_firmware_type="uefi", **stateless, **properties
    )

    server = split.boot(name, split.parts[name][0], image)

    wanted = words[name]
    if wanted is None:
        assert server.status == "ACTIVE", server.fault
        split.see_encrypted(server, name)
    else:
        assert server.status == "ERROR"
        assert wanted in server.fault["message"]
    split.delete(server)
    eventually("its slot is free", lambda: split.usage() == NONE_USED)


#: As much of a kernel's header as QEMU looks at before it starts one.
KERNEL = bytearray(64 * 1024)
KERNEL[0x1F1] = 1  # sectors of its set-up code
KERNEL[0x202:0x208] = b"HdrS\0\2"


@pytest.mark.parametrize("name", ["sev", "snp"])
def test_kernel_that_debians_own_firmware_cannot_measure_is_refused(
    split: Split, name: str
) -> None:
    """tests/functional/test_kernel_boot.py has a firmware that can."""
    kernel = split.connection.image.create_image(
        f"kernel-{name}",
        data=bytes(KERNEL),
        disk_format="aki",
        container_format="aki",
    )
    image = split.make_image(
        f"with-kernel-{name}",
        hw_firmware_type="uefi",
        hw_firmware_stateless=str(name == "snp"),
        kernel_id=kernel.id,
    )
    server = split.boot(name, split.parts[name][0], image)
    assert server.status == "ERROR"
    said = "has no place for the hash of the image's kernel"
    lines = [line for line in split.log().splitlines() if server.id in line]
    assert any(said in line for line in lines)
    split.delete(server)
    eventually("its slot is free", lambda: split.usage() == NONE_USED)


def test_libvirt_starts_a_guest_with_all_launch_inputs(split: Split) -> None:
    flavor, image = split.parts["snp"]
    first = split.boot("first", flavor, image)
    assert first.status == "ACTIVE", first.fault
    digest = first.metadata["sev:launched_digest"]
    split.delete(first)

    block, auth = owners_keys.sign(digest, author=owners_keys.AUTHOR_KEY)
    inputs = owners_keys.as_metadata(block, auth) | {"sev:host_data": "user_data"}
    script = base64.b64encode(b"#cloud-config\n")
    arguments = {"metadata": inputs, "user_data": script.decode()}
    server = split.boot("inputs", flavor, image, **arguments)
    assert server.status == "ACTIVE", server.fault
    xml = split.virsh("dumpxml", server.instance_name)
    assert "authorKey='yes'" in xml
    for tag, data in (
        ("idBlock", block),
        ("idAuth", auth),
        ("hostData", hashlib.sha256(b"#cloud-config\n").digest()),
    ):
        assert f"<{tag}>{base64.b64encode(data).decode()}</{tag}>" in xml
    split.delete(server)

    other = owners_keys.sign("ab" * 48, author=owners_keys.AUTHOR_KEY)
    server = split.boot(
        "other", flavor, image, metadata=owners_keys.as_metadata(*other)
    )
    # If the driver does not know the digest, the secure processor refuses it.
    assert server.status == "ERROR"
    split.delete(server)
    server = split.boot("wrong", flavor, image, metadata={"sev:host_data": "x"})
    assert server.status == "ERROR"
    assert "sev:host_data of the server is neither in base64" in server.fault["message"]
    split.delete(server)
    eventually("its slot is free", lambda: split.usage() == NONE_USED)


@pytest.fixture
def real_firmware(split: Split) -> Iterator[None]:
    (host,) = split.cloud.hosts
    host.set(halting_firmware=False)
    yield
    host.set(halting_firmware=True)


@pytest.mark.usefixtures("real_firmware")
@pytest.mark.parametrize("name", ["es", "snp"])
def test_a_reboot_from_inside_ends_it_and_a_start_brings_it_back(
    split: Split, name: str
) -> None:
    image = split.make_empty_image(
        f"shell-{name}",
        hw_firmware_type="uefi",
        hw_firmware_stateless=str(name == "snp"),
    )
    server = split.boot(name, split.parts[name][0], image)
    assert server.status == "ACTIVE", server.fault
    domain, compute = server.instance_name, split.connection.compute

    def type_reset() -> bool:
        """In the firmware's shell, which comes up after some seconds."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it is off
            for key in ("ENTER", *"RESET", "ENTER"):
                split.virsh("send-key", domain, f"KEY_{key}")
                time.sleep(0.2)
        return "shut off" in split.virsh("domstate", domain)

    eventually("the guest reboots", type_reset, timeout=180)

    # Its registers are encrypted: nobody can reset them, so QEMU ends.
    assert split.held() == {"sev": 0, "sev_es_snp": 0}
    eventually(
        "Nova has noticed", lambda: compute.get_server(server).status == "SHUTOFF"
    )
    assert split.usage() == NONE_USED | {GENERATIONS[name].provider: 1}
    assert split.act(server, "os-start").result == "Success"
    split.see_encrypted(server, name)
    split.delete(server)
    eventually("its slot is free", lambda: split.usage() == NONE_USED)


DOMAIN = """
<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <memoryBacking><locked/></memoryBacking>
  <os firmware='efi'>
    <type arch='x86_64' machine='q35'>hvm</type>
    <firmware><feature enabled='no' name='secure-boot'/></firmware>
    <loader stateless='{stateless}'/>
  </os>
  <features><acpi/></features>
  <launchSecurity type='{launch_security}'><policy>{policy}</policy></launchSecurity>
</domain>
"""


def test_guests_that_nova_does_not_know_are_reserved(split: Split) -> None:
    offered = split.inventory()
    for name, generation in GENERATIONS.items():
        file = split.cloud.layout.tmp / f"{name}.xml"
        file.write_text(
            DOMAIN.format(
                name=name,
                launch_security=generation.launch_security,
                policy=hex(generation.policy),
                stateless="yes" if name == "snp" else "no",
            )
        )
        split.virsh("create", str(file))

    reserved = {SEV: (10, 1), SEV_ES: (2, 1), SNP: (3, 1)}
    eventually("they are reserved", lambda: split.inventory() == reserved)
    assert split.usage() == NONE_USED
    # Of two SEV-ES slots a stranger has one.
    first = split.boot_one("es")
    second = split.boot("second", *split.parts["es"])
    assert second.status == "ERROR"
    assert second.fault["message"].startswith("No valid host was found.")

    for name in GENERATIONS:
        split.virsh("destroy", name)
    eventually("they are given back", lambda: split.inventory() == offered)
    for server in (first, second):
        split.delete(server)
    eventually("its slot is free", lambda: split.usage() == NONE_USED)


def test_a_qemu_that_libvirt_does_not_run_is_reserved(split: Split) -> None:
    offered = split.inventory()
    restarts = Restarts(split.cloud)
    # What libvirt would run, without libvirt's monitor.
    command = [f"{BIN}/qemu-system-x86_64", "-name", "guest=stranger,process=x"]
    # Less than what root may lock everywhere.
    command += ["-machine", "q35,accel=kvm", "-m", "4"]
    security: dict[str, Any] = {"qom-type": "sev-guest", "id": "lsec0", "policy": 0x33}
    security |= {"cbitpos": 51, "reduced-phys-bits": 1}
    command += ["-object", json.dumps(security), "-nodefaults", "-nographic"]

    restarts.start_guest("stranger", restarts.host.userland.command(command))

    reserved = offered | {SEV: (10, 1)}
    eventually("it is reserved", lambda: split.inventory() == reserved)
    assert split.held() == {"sev": 1, "sev_es_snp": 0}
    assert split.virsh("list", "--name").split() == []
    restarts.kill_guest("stranger")
    eventually("it is given back", lambda: split.inventory() == offered)


def test_debian_12_refuses_snp_in_words_and_runs_es(debian_12: Split) -> None:
    version = debian_12.virsh("version", "--daemon")
    if "libvirt 9." not in version:
        pytest.skip("this machine's libvirt knows SEV-SNP")
    reason = "it needs libvirt 10.5.0 and QEMU 9.1.0"
    assert f"AMD SEV-SNP is not available on this host: {reason}" in debian_12.log()
    assert debian_12.inventory() == {SEV: (10, 0), SEV_ES: (2, 0)}

    snp = debian_12.boot("snp", *debian_12.parts["snp"])
    es = debian_12.boot_one("es")

    assert snp.status == "ERROR"
    assert snp.fault["message"].startswith("No valid host was found.")
    debian_12.see_encrypted(es, "es")
    assert debian_12.held() == {"sev": 0, "sev_es_snp": 1}
