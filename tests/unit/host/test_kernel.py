# SPDX-License-Identifier: Apache-2.0
"""kernel: what is read, and that what cannot be read is told apart."""

import os
import pathlib
import struct

import pytest

from sev_driver.host import cpuid, kernel
from sev_driver.host.facts import SevDevice
from sev_driver.host.processor import Topology


@pytest.fixture
def root(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A host that shows nothing yet."""
    monkeypatch.setattr(kernel, "KVM_PARAMETERS", tmp_path / "parameters")
    monkeypatch.setattr(kernel, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(kernel, "MISC_DEVICES", tmp_path / "misc")
    groups = (tmp_path / "cgroup", tmp_path / "cgroup/misc")
    monkeypatch.setattr(kernel, "CONTROL_GROUPS", groups)
    for name in ("parameters", "dev", "cgroup/misc"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def test_a_parameter_is_read(root: pathlib.Path) -> None:
    (root / "parameters/sev").write_text("Y\n")
    parameter = kernel.read_kvm_parameter("sev")
    assert (parameter.text, parameter.error) == ("Y\n", None)
    assert parameter.path == str(root / "parameters/sev")


def test_a_missing_parameter_is_no_error(root: pathlib.Path) -> None:
    parameter = kernel.read_kvm_parameter("sev")
    assert (parameter.text, parameter.error) == (None, None)


def test_an_unreadable_parameter_says_why(root: pathlib.Path) -> None:
    (root / "parameters/sev").mkdir()
    parameter = kernel.read_kvm_parameter("sev")
    assert parameter.text is None
    assert parameter.error == "Is a directory"


def test_bytes_that_are_no_text_are_still_read(root: pathlib.Path) -> None:
    (root / "parameters/sev").write_bytes(b"\xff\x00Y")
    assert not kernel.read_kvm_parameter("sev").enabled


def test_each_parameter_under_its_own_name(root: pathlib.Path) -> None:
    names = ("sev", "sev_es", "sev_snp", "ciphertext_hiding_asids")
    for name in names:
        (root / "parameters" / name).write_text(name)
    found = kernel.read_kvm_parameters()
    assert [getattr(found, name).text for name in names] == list(names)


@pytest.mark.parametrize(
    ("device", "listed", "present"),
    [
        (True, ["kvm"], True),
        (True, None, True),
        (False, ["kvm", "sev"], True),
        (False, ["kvm"], False),
        # A container without the host's devices, and without its sysfs.
        (False, None, None),
    ],
)
def test_the_device_is_missing_only_where_the_kernel_does_not_list_it(
    root: pathlib.Path, device: bool, listed: list[str] | None, present: bool | None
) -> None:
    if device:
        (root / "dev/sev").touch(mode=0o600)
    for name in listed or ():
        (root / "misc" / name).mkdir(parents=True)
    assert kernel.read_sev_device().present is present


def test_who_may_open_the_device(root: pathlib.Path) -> None:
    (root / "dev/sev").touch()
    (root / "dev/sev").chmod(0o600)
    found = kernel.read_sev_device()
    assert found.access.endswith(" 0600")
    assert ":" in found.access
    os.unlink(root / "dev/sev")
    os.symlink("sev", root / "dev/sev")
    assert kernel.read_sev_device() == SevDevice()


def save_leaves(root: pathlib.Path, highest: int, leaf: bytes) -> None:
    """A file that answers at the offsets of the leaves; most of it is a hole."""
    path = root / "dev/cpu/0/cpuid"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.seek(cpuid.HIGHEST_LEAF)
        file.write(struct.pack("<4I", highest, 0, 0, 0))
        file.seek(cpuid.LEAF)
        file.write(leaf)


def test_cpuid(root: pathlib.Path) -> None:
    assert kernel.read_cpuid() is None
    save_leaves(root, cpuid.LEAF, struct.pack("<4I", 0x1A, 0, 509, 100))
    assert kernel.read_cpuid() == cpuid.MemoryEncryptionLeaf(0x1A, 0, 509, 100)


@pytest.mark.parametrize(
    ("highest", "leaf"),
    [(0x80000008, struct.pack("<4I", 0x1A, 0, 509, 100)), (cpuid.LEAF, b"short")],
)
def test_cpuid_that_says_nothing(root: pathlib.Path, highest: int, leaf: bytes) -> None:
    save_leaves(root, highest, leaf)
    assert kernel.read_cpuid() is None


@pytest.mark.parametrize("folder", ["cgroup", "cgroup/misc"])
def test_the_misc_control_group(root: pathlib.Path, folder: str) -> None:
    assert kernel.read_misc_capacity() == {}
    (root / folder / "misc.capacity").write_text("sev 410\nsev_es 99\n")
    assert kernel.read_misc_capacity() == {"sev": 410, "sev_es": 99}


@pytest.mark.parametrize("data", [b"\xff\xfe\n", b"nonsense\n"])
def test_a_control_group_that_says_nothing(root: pathlib.Path, data: bytes) -> None:
    (root / "cgroup/misc.capacity").write_bytes(data)
    assert kernel.read_misc_capacity() == {}


def test_a_file_is_no_kvm(root: pathlib.Path) -> None:
    """As in the simulated host, whose /dev/kvm is /dev/null."""
    assert kernel.read_vm_types() is None
    os.symlink("/dev/null", root / "dev/kvm")
    assert kernel.read_vm_types() is None


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no KVM here")
def test_a_real_kvm_answers() -> None:
    types = kernel.read_vm_types()
    assert types is not None
    assert types.bits & 1 or not types.bits


def test_the_kernel_has_a_version() -> None:
    version = kernel.read_kernel_version()
    assert version is not None and version > (3, 0, 0)


def test_what_is_in_use_of_misc(root: pathlib.Path) -> None:
    assert kernel.read_misc_current() == {}
    (root / "cgroup/misc.current").write_text("res_a 1\nsev 3\nsev_es 50\n")
    assert kernel.read_misc_current() == {"res_a": 1, "sev": 3, "sev_es": 50}


def test_memory_is_what_the_kernel_says_in_mib() -> None:
    total = pathlib.Path("/proc/meminfo").read_text().split()[1]
    assert kernel.read_memory_mib() == int(total) // 1024


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Topology()),
        ({"smt/active": "1\n"}, Topology(has_smt=True)),
        (
            {
                "smt/active": "0\n",
                "cpu0/topology/physical_package_id": "0\n",
                "cpu1/topology/physical_package_id": "0\n",
                "cpufreq/topology/physical_package_id": "7\n",
            },
            Topology(has_smt=False, sockets=1),
        ),
        (
            {
                "cpu0/topology/physical_package_id": "0\n",
                "cpu64/topology/physical_package_id": "1\n",
                "cpu65/online": "0\n",
            },
            Topology(sockets=2),
        ),
    ],
)
def test_topology(
    files: dict[str, str],
    expected: Topology,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(kernel, "_CPUS", str(tmp_path))
    assert kernel.read_topology() == expected
