# SPDX-License-Identifier: Apache-2.0
"""Ten broken hosts: the doctor names the cause first, and its advice mends each."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from doctors_host import Advice, DoctorsHost, doctors_host

from devcloud.simhost import userland


class Break(NamedTuple):
    """:param cause: the id of the first failure, and words of what it says.
    :param advice: words of the remedy.
    """

    cause: str
    seen: str
    advice: str


def names_the_cause(
    host: DoctorsHost, broken: Break, generation: str = "sev"
) -> dict[str, str]:
    """Return the first failure, which is that cause; also to people."""
    told, text = host.ask_doctor(generation), host.text_of_the_same(generation)
    assert told.status == 1, text
    first = told.failed[0]
    assert first["id"] == broken.cause, text
    assert broken.seen in first["seen"]
    assert broken.advice in first["remedy"]
    assert told.json["generations"][f"amd-{generation}"]["cause"] == broken.cause
    fails = [line for line in text.splitlines() if "FAIL" in line]
    assert first["title"] in fails[0]
    return first


def is_mended(host: DoctorsHost, generation: str = "sev") -> None:
    told = host.ask_doctor(generation)
    assert (told.status, told.failed) == (0, [])


# Of these the advice is carried out in the BIOS setup, and by a reboot.


@pytest.mark.parametrize(
    ("generation", "broken_by", "cause", "mended_by"),
    [
        (
            "sev",
            ("--no-smee",),
            Break("bios.sme", "no flag sme or sev", "set SMEE to Enabled"),
            ("--smee",),
        ),
        (
            "sev-es",
            ("--sev-es", "--min-asid", "1"),
            Break("bios.asids", "no slots for it", "SEV-ES ASID Space Limit"),
            ("--sev-es", "--min-asid", "6"),
        ),
        (
            "sev",
            ("--no-psp",),
            Break(
                "kernel.secure-processor",
                "/dev/sev does not exist",
                "power the host off once",
            ),
            ("--psp",),
        ),
    ],
    ids=["sev-off-in-bios", "no-es-asids", "dead-psp"],
)
def test_broken_in_hardware(
    tmp_path: Path,
    generation: str,
    broken_by: tuple[str, ...],
    cause: Break,
    mended_by: tuple[str, ...],
) -> None:
    with doctors_host(tmp_path, *broken_by) as host:
        names_the_cause(host, cause, generation)
    with doctors_host(tmp_path, *mended_by) as host:
        is_mended(host, generation)


def test_libvirt_is_down(tmp_path: Path) -> None:
    with doctors_host(tmp_path, "--no-libvirtd") as host:
        broken = Break("libvirt.reach", "No such file", "systemctl start libvirtd")
        first = names_the_cause(host, broken)
        assert Advice(host, first["remedy"]).follow() == ["systemctl start libvirtd"]
        is_mended(host)


SNP_DESCRIPTOR = """{
  "description": "OVMF for SEV-SNP",
  "interface-types": ["uefi"],
  "mapping": {"device": "memory", "filename": "/usr/share/ovmf/OVMF.fd"},
  "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
  "features": ["amd-sev", "amd-sev-es", "amd-sev-snp", "verbose-dynamic"],
  "tags": []
}"""


@pytest.mark.skipif(not userland.is_here("trixie"), reason="make setup-trixie")
def test_no_firmware_for_snp(tmp_path: Path) -> None:
    snp = ("--distribution", "trixie", "--min-asid", "6", "--sev-es", "--sev-snp")
    with doctors_host(tmp_path, *snp, "--no-es-snp-firmware") as host:
        broken = Break(
            "firmware.descriptor",
            "no firmware descriptor in /usr/share/qemu/firmware or /etc/qemu/firmware",
            "install OVMF built for it",
        )
        first = names_the_cause(host, broken, "sev-snp")
        # Debian 13 has no such package: one that was built, with its descriptor.
        (path,) = re.findall(r"write (\S+\.json)", first["remedy"])
        host.write(path, SNP_DESCRIPTOR)
        is_mended(host, "sev-snp")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoctorsHost]:
    """A host with two slots for SEV, and well, as the doctor says."""
    folder = tmp_path_factory.mktemp("host")
    with doctors_host(folder, "--max-asid", "2", "--misc-cgroup") as host:
        is_mended(host)
        yield host


@pytest.mark.parametrize(
    ("right", "wrong", "cause"),
    [
        (
            "virt_type = kvm\n",
            "virt_type = kvm\nhw_machine_type = x86_64=pc\n",
            Break("nova.machine-type", "it is x86_64=pc", "x86_64=q35"),
        ),
        (
            "compute_driver = sev_driver.SEVDriver\n",
            "compute_driver = libvirt.LibvirtDriver\n",
            Break("nova.compute-driver", "libvirt.LibvirtDriver", "SEVDriver"),
        ),
        (
            "ram_allocation_ratio = 1.0\n",
            "ram_allocation_ratio = 1.5\n",
            Break("memory.overcommit", "it is 1.5: Nova promises", "ratio = 1.0"),
        ),
    ],
    ids=["pc-machine", "wrong-compute-driver", "memory-overcommit"],
)
def test_a_wrong_nova_conf(
    host: DoctorsHost, right: str, wrong: str, cause: Break
) -> None:
    good = host.nova_conf.read_text()
    assert right in good
    host.nova_conf.write_text(good.replace(right, wrong))
    try:
        first = names_the_cause(host, cause)
        assert len(Advice(host, first["remedy"]).follow()) == 1
        is_mended(host)
    finally:
        host.nova_conf.write_text(good)


def test_dev_sev_cannot_be_opened(host: DoctorsHost) -> None:
    # Not even by root, as where /dev is mounted without devices. libvirt has found
    # that out by itself only if it has no older answer of QEMU's to believe.
    host.run("mount -o remount,bind,nodev /dev/sev")
    host.run("rm -r /var/cache/libvirt/qemu/capabilities")
    host.run("systemctl restart libvirtd")
    broken = Break(
        "libvirt.dev-sev", "with nodev", "mount -o remount,bind,dev /dev/sev"
    )
    first = names_the_cause(host, broken)
    assert Advice(host, first["remedy"]).follow() == [
        "mount -o remount,bind,dev /dev/sev",
        "rm -r /var/cache/libvirt/qemu/capabilities",
        "systemctl restart libvirtd",
    ]
    is_mended(host)


def test_all_slots_are_taken(host: DoctorsHost) -> None:
    server = host.start_guest("instance-00000001", novas=True)
    host.start_guest("db")
    try:
        held = f"1 held by servers of Nova ({server}), 1 held by guests not managed"
        seen = f"0 of 2 free; {held}"
        first = names_the_cause(host, Break("slots.free", seen, "virsh destroy db"))
        assert Advice(host, first["remedy"]).follow() == ["virsh destroy db"]
        is_mended(host)
    finally:
        host.run("virsh destroy instance-00000001; virsh destroy db", check=False)
