# SPDX-License-Identifier: Apache-2.0
"""gather: from what was read to evidence, the same here and elsewhere."""

import hashlib
import json
import os
import pathlib
import shutil

import ovmf_file
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.doctor.findings import Verdict
from sev_driver.doctor.host import archive, nova_compute, ownership
from sev_driver.doctor.host.archive import Archive, Failure, Recording
from sev_driver.doctor.host.diagnosis import NODES, diagnose
from sev_driver.doctor.host.evidence import (
    Fact,
    FirmwareContents,
    Import,
    NovaCompute,
)
from sev_driver.doctor.host.gather import gather
from sev_driver.doctor.host.libvirt import Nobody
from sev_driver.host import firmware_dirs
from sev_driver.host.files import LOCAL, Status
from sev_driver.model import MemoryEncryptionModel

DATA = pathlib.Path(__file__).parents[3] / "data"
KVM = "files/sys/module/kvm_amd/parameters"

NOVA_CONF = """
[DEFAULT]
transport_url = rabbit://nova:PASSWORD@rabbit
compute_driver = sev_driver.SEVDriver
[libvirt]
virt_type = kvm
num_memory_encrypted_guest = 5
rbd_secret_uuid = PASSWORD
[sev]
num_sev_es_guests = 3
rabbit_password = PASSWORD
[keystone_authtoken]
password = PASSWORD
  PASSWORD
[database]
connection = mysql://nova:PASSWORD@db/nova
"""


@pytest.fixture(autouse=True)
def unknown_system() -> None:
    """Read this machine as it is, unlike other tests."""


def test_this_machine_is_judged_alike_from_an_archive_of_it(
    tmp_path: pathlib.Path,
) -> None:
    """Whatever machine this is: nothing of it is asked a second time."""
    conf = tmp_path / "nova.conf"
    conf.write_text(NOVA_CONF)
    recording = Recording(LOCAL)
    here = gather(recording, Nobody(), [str(conf)])
    packed = archive.pack(Archive("", "", recording.answers))
    conf.unlink()
    assert gather(archive.unpack(packed), Nobody()) == here
    assert here.option("DEFAULT", "compute_driver") == "sev_driver.SEVDriver"
    assert here.processor.value is not None and here.memory.value is not None


def test_no_secret_of_nova_conf_is_kept(tmp_path: pathlib.Path) -> None:
    conf = tmp_path / "nova.conf"
    conf.write_text(NOVA_CONF)
    recording = Recording(LOCAL)
    found = gather(recording, Nobody(), [str(conf)])
    kept = [answer for answer in recording.answers.values() if answer]
    assert all(b"PASSWORD" not in answer for answer in kept if type(answer) is bytes)
    assert "PASSWORD" not in repr(found)
    # A misspelt option is known by its name.
    misspelt = found.options["libvirt", "num_memory_encrypted_guest"]
    assert misspelt.value is None
    assert found.facts.es_beside_snp


ANSWERS: dict[str, bytes | Failure] = {
    f"{KVM}/sev": b"Y\n",
    f"{KVM}/sev_es": b"Y\n",
    f"{KVM}/sev_snp": Failure("No such file or directory", 2),
    f"{KVM}/ciphertext_hiding_asids": Failure("No such file or directory", 2),
    "status/dev/sev": b'["c", 384, "root", "root"]',
    "status/dev/kvm": b'["c", 432, "root", "kvm"]',
    "files/proc/cpuinfo": b"processor : 0\nvendor_id\t: AuthenticAMD\n"
    b"cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9354\n"
    b"flags\t\t: fpu sme sev\n\n"
    b"processor : 1\nmodel : 99\n",
    "files/proc/meminfo": b"MemTotal: 2048 kB\nMemAvailable: 1024 kB\nHugetlb: 0 kB\n",
    "files/sys/fs/cgroup/misc.capacity": b"sev 410\nsev_es 99\n",
    "files/sys/fs/cgroup/misc.current": b"sev 1\nsev_es 0\n",
    "files/run/libvirtd.pid": b"812\n",
    "files/proc/812/limits": b"Limit  Soft  Hard\nMax locked memory  67108864  67 b\n",
    "files/proc/812/status": b"Name:\tlibvirtd\nCapEff:\t000001ffffffffff\n",
    "folders/sys/bus/pci/drivers/ccp": b'["0000:02:00.5", "bind", "module"]',
    "files/sys/bus/pci/drivers/ccp/0000:02:00.5/tsme_status": b"0\n",
    "folders/sys/kernel/iommu_groups": b'["0", "1"]',
    "folders/sys/class/iommu": b'["ivhd0", "ivhd1"]',
    "files/sys/kernel/iommu_groups/0/type": b"DMA-FQ\n",
    "asked/kernel/release": b"6.12.48+deb13-amd64",
    "asked/kernel/machine": b"x86_64",
    "asked/kernel/command-line": b"iommu=pt",
    "asked/libvirt/uri": b"qemu:///system",
    "asked/libvirt/versions": b"[[11, 3, 0], null]",
    "asked/libvirt/domain-capabilities-kvm.xml": b"<domainCapabilities><features>"
    b"<sev supported='yes'><maxGuests>410</maxGuests></sev></features>"
    b"</domainCapabilities>",
    "asked/libvirt/domains.xml": b"<domains><domain><uuid>1</uuid><name>g</name>"
    b"<memory unit='KiB'>1024</memory><launchSecurity type='sev'>"
    b"<policy>0x7</policy></launchSecurity></domain></domains>",
    "asked/libvirt/qemu.conf": b'user = "libvirt-qemu"\n',
    "asked/nova/files": b'["/etc/nova/nova.conf", "/gone"]',
    "asked/nova/etc/nova/nova.conf": b"[libvirt]\nvirt_type = kvm\n",
    "asked/nova/gone": Failure("No such file or directory", 2),
}


def test_what_was_read_is_where_it_belongs() -> None:
    found = gather(Archive("", "", ANSWERS), Nobody())
    assert found.facts.vendor == "AMD"
    assert found.facts.versions.kernel == (6, 12, 48)
    assert found.facts.versions.libvirt == (11, 3, 0)
    assert found.facts.versions.qemu is None
    assert found.facts.device.access == "root:root 0600"
    assert found.sev_device.value == Status("c", 0o600, "root", "root")
    processor = found.processor.value
    assert processor is not None
    assert (processor.family, processor.model) == (25, 17)
    assert found.daemon.value is not None
    assert found.daemon.value.memlock == 64 << 20
    assert found.daemon.value.may_raise_limits
    assert found.secure_processor.value is not None
    assert found.secure_processor.value.devices == ("0000:02:00.5",)
    assert found.secure_processor.value.attributes == {"tsme_status": "0"}
    assert found.iommu.value is not None
    assert (found.iommu.value.units, found.iommu.value.groups) == (2, 2)
    assert found.misc_current == {"sev": 1, "sev_es": 0}
    assert found.domains.value is not None
    (domain,) = found.domains.value
    assert (domain.uuid, domain.memory_kib) == ("1", 1024)
    assert domain.model is MemoryEncryptionModel.AMD_SEV_ES
    assert found.nova_files["/gone"].absent
    assert found.memory.value is not None and found.memory.value.total_kib == 2048


@pytest.mark.parametrize("virt_type", [b"lxc", b"kvn"])
def test_host_is_judged_whatever_virt_type_nova_has(virt_type: bytes) -> None:
    conf = b"[DEFAULT]\ncompute_driver=sev_driver.SEVDriver\n[libvirt]\nvirt_type="
    intel = ANSWERS["files/proc/cpuinfo"].replace(b"AuthenticAMD", b"GenuineIntel")
    absent = Failure("No such file or directory", 2)
    answers = {name: absent for name in ANSWERS if name.startswith(KVM)} | {
        "asked/nova/etc/nova/nova.conf": conf + virt_type,
        "files/proc/cpuinfo": intel,
    }
    found = gather(Archive("", "", {**ANSWERS, **answers}), Nobody())
    judged = diagnose(NODES, found, MemoryEncryptionModel.AMD_SEV)
    failed = [
        finding.check.id
        for finding in judged.findings[MemoryEncryptionModel.AMD_SEV]
        if finding.verdict is Verdict.FAIL
    ]
    assert failed == ["processor.vendor", "nova.virt-type"]


@pytest.mark.parametrize("what", [b"[1, 2]", b"[1, [], true]", b'["/p", 3, true]'])
def test_a_nova_compute_that_makes_no_sense_is_unknown(what: bytes) -> None:
    found = gather(Archive("", "", {**ANSWERS, "asked/nova/compute": what}), Nobody())
    assert found.nova_compute.unknown and found.nova_compute.value is None


def test_what_is_in_no_archive_is_unknown_and_never_absent() -> None:
    found = gather(Archive("", "", {}), Nobody())
    for name in ("processor", "modules", "kvm_device", "libvirt", "domains", "iommu"):
        assert getattr(found, name).unknown, name
        assert not getattr(found, name).absent
    assert found.facts.parameters.sev.error
    assert found.facts.device.present is None


NAMES = sorted({*ANSWERS, "asked/nova/compute", "asked/nova/import"})


@given(name=st.sampled_from(NAMES), answer=st.binary(max_size=80))
def test_any_answer_is_evidence(name: str, answer: bytes) -> None:
    gather(Archive("", "", {**ANSWERS, name: answer}), Nobody())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(name=st.sampled_from(NAMES), answer=JSON)
def test_any_json_is_evidence(name: str, answer: object) -> None:
    changed = {**ANSWERS, name: json.dumps(answer).encode()}
    gather(Archive("", "", changed), Nobody())


def test_descriptors_are_in_libvirts_order_with_their_files(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usr, etc = tmp_path / "usr", tmp_path / "etc"
    shutil.copytree(DATA / "firmware/debian", usr)
    etc.mkdir()
    (etc / "10-mine.json").write_text("nonsense")
    (etc / "40-edk2-x86_64-secure-enrolled.json").touch()
    monkeypatch.setattr(firmware_dirs, "FOLDERS", (usr, etc))
    found = gather(LOCAL, Nobody()).descriptors
    names = [pathlib.Path(each.path).name for each in found]
    assert names == [
        "10-mine.json",
        "50-edk2-x86_64-secure.json",
        "60-edk2-x86_64.json",
    ]
    assert found[0].firmware is None and found[0].error
    assert found[1].firmware is not None


def firmware_folder(folder: pathlib.Path, data: bytes) -> pathlib.Path:
    """Return a folder with a descriptor of a firmware with these contents."""
    file = folder / "OVMF.fd"
    file.write_bytes(data)
    descriptors = folder / "firmware"
    descriptors.mkdir()
    (descriptors / "60-snp.json").write_text(
        json.dumps(
            {
                "interface-types": ["uefi"],
                "mapping": {"device": "memory", "filename": str(file)},
                "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
                "features": ["amd-sev", "amd-sev-es", "amd-sev-snp"],
            }
        )
    )
    return descriptors


@pytest.mark.parametrize(
    ("data", "has_metadata", "models"),
    [
        (ovmf_file.amdsev(), True, set(MemoryEncryptionModel)),
        (ovmf_file.debian(), True, set()),
        (bytes(4096), False, set()),
    ],
)
def test_of_a_guest_firmware_what_it_has_is_kept(
    data: bytes,
    has_metadata: bool,
    models: set[MemoryEncryptionModel],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = firmware_folder(tmp_path, data)
    monkeypatch.setattr(firmware_dirs, "FOLDERS", (folder,))
    recording = Recording(LOCAL)
    (here,) = gather(recording, Nobody()).descriptors
    sha256 = hashlib.sha256(data).hexdigest()
    assert here.contents.value == FirmwareContents(sha256, has_metadata, models)
    # The file itself is not: an archive has no room for it.
    kept = [len(each) for each in recording.answers.values() if type(each) is bytes]
    assert max(kept) < len(data)
    (there,) = gather(Archive("", "", recording.answers), Nobody()).descriptors
    assert there == here


def test_an_archive_without_a_firmware_s_contents_leaves_them_unknown(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of older versions."""
    folder = firmware_folder(tmp_path, ovmf_file.debian())
    monkeypatch.setattr(firmware_dirs, "FOLDERS", (folder,))
    recording = Recording(LOCAL)
    gather(recording, Nobody())
    (name,) = (each for each in recording.answers if "guest-firmware" in each)
    for answer in (None, b"[]", b'["ab", 1, []]', b'["ab", true, [[]], 1]', b"{"):
        answers = {**recording.answers, name: answer}
        if answer is None:
            del answers[name]
        (found,) = gather(Archive("", "", answers), Nobody()).descriptors  # type: ignore[arg-type]
        assert found.contents.value is None
        assert "archive" in found.contents.unknown


def test_a_guest_firmware_that_cannot_be_parsed_is_unknown(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = firmware_folder(tmp_path, b"QFI\xfb" + bytes(4096))
    monkeypatch.setattr(firmware_dirs, "FOLDERS", (folder,))
    (found,) = gather(LOCAL, Nobody()).descriptors
    assert found.contents == Fact(unknown="guest firmware: it is a QCOW2 image")


def conf_of(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Fact[bytes]:
    """Return what is kept of the nova.conf that a running nova-compute names."""
    running = NovaCompute("/usr/bin/python3", ("--config-file", str(path)))
    monkeypatch.setattr(nova_compute, "find", lambda of: running)
    monkeypatch.setattr(nova_compute, "try_import", lambda *_: Import(True, ""))
    return gather(Recording(LOCAL), Nobody()).nova_files[str(path)]


def test_nova_conf_that_is_a_pipe_or_a_device_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", pathlib.Path("/dev/zero")):
        assert conf_of(path, monkeypatch).unknown == "it is not a regular file"


def test_nova_conf_that_others_can_write_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(ownership, "UNIT_DIRECTORIES", ())
    conf = tmp_path / "nova.conf"
    conf.write_text("[DEFAULT]\ncompute_driver = other\n")
    assert conf_of(conf, monkeypatch).value
    conf.chmod(0o666)
    assert conf_of(conf, monkeypatch).unknown == "anybody may write to it"
    if os.geteuid() == 0:
        conf.chmod(0o644)
        os.chown(conf, 65534, 65534)
        assert "who is neither root nor" in conf_of(conf, monkeypatch).unknown
