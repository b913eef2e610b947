# SPDX-License-Identifier: Apache-2.0
"""The simulated host's settings and files, as far as no namespace is needed."""

import json
import os
import stat
import subprocess
import sys

import pytest

from devcloud.simhost import firmware, libvirt_conf, mounts, processor, userland
from devcloud.simhost import host as host_module
from devcloud.simhost.host import RealHost, SimulatedHost
from devcloud.simhost.layout import Layout
from devcloud.simhost.private_libvirt import HostError
from devcloud.simhost.settings import HostSettings, SettingsError
from devcloud.simhost.userland import UserlandError


def test_settings_survive_json():
    settings = HostSettings(name="a-1", min_asid=6, max_asid=9, sev_es=True)
    assert HostSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("min_asid", "max_asid", "sev", "es"),
    [(1, 15, 15, 0), (6, 15, 10, 5), (16, 15, 0, 15), (1, 0, 0, 0), (8, 509, 502, 7)],
)
def test_slots_are_divided_as_cpuid_does(min_asid, max_asid, sev, es):
    settings = HostSettings(min_asid=min_asid, max_asid=max_asid)
    assert (settings.sev_slots, settings.sev_es_slots) == (sev, es)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({}, (True, False, False)),
        ({"sev": False, "sev_es": True, "min_asid": 6}, (False, False, False)),
        ({"sev_es": True}, (True, False, False)),
        ({"sev_es": True, "min_asid": 6}, (True, True, False)),
        ({"sev_snp": True, "min_asid": 6}, (True, False, False)),
        ({"sev_es": True, "sev_snp": True, "min_asid": 6}, (True, True, True)),
        ({"max_asid": 0}, (False, False, False)),
        ({"min_asid": 16}, (True, False, False)),
        ({"min_asid": 6, "sev_es": True, "smee": False}, (False, False, False)),
        ({"min_asid": 6, "sev_es": True, "psp": False}, (True, True, False)),
    ],
)
def test_the_kernel_turns_off_what_cannot_be(settings, parameters):
    result = HostSettings(**settings).kernel_parameters
    assert result == dict(zip(("sev", "sev_es", "sev_snp"), parameters, strict=True))


def test_the_device_is_the_secure_processors():
    assert HostSettings().has_device
    assert HostSettings(sev=False).has_device  # kvm_amd.sev=0 leaves ccp alone
    assert not HostSettings(psp=False).has_device
    assert not HostSettings(smee=False).has_device


INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vmx\nbugs\t\t: a\n\n"
NESTED = INTEL.replace("GenuineIntel", "AuthenticAMD").replace(
    "vmx", "sev hypervisor svm"
)


@pytest.mark.parametrize("machines", [INTEL * 2, NESTED * 2])
@pytest.mark.parametrize("smee", [True, False])
def test_every_processor_has_the_flags_of_an_epyc(machines, smee):
    text = processor.cpuinfo(machines, HostSettings(smee=smee))
    ours = ["sme", "sev", "sev_es", "sev_snp"]
    flags = [line.split()[2:] for line in text.splitlines() if line.startswith("flags")]
    assert [[f for f in each if f in ours] for each in flags] == [ours * smee] * 2
    assert all(each[0] == "fpu" and "hypervisor" not in each for each in flags)
    assert text.count("vendor_id\t: AuthenticAMD\n") == 2
    assert text.count("bugs\t\t: a\n\n") == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "under_score"}, "name='under_score' is not a host name"),
        ({"min_asid": 0}, "min_asid=0 must lie between 1 .* and max_asid.1=16"),
        ({"min_asid": 17}, "min_asid=17 must lie between"),
        ({"max_asid": -1}, "max_asid=-1 must lie between 0 and"),
        ({"max_asid": "15"}, "max_asid='15' must be of type int"),
        ({"max_asid": True}, "max_asid=True must be of type int"),
        ({"sev": 1}, "sev=1 must be of type bool"),
        ({"distribution": "../x"}, "distribution='../x' is not a codename"),
        ({"cbitpos": 12}, "cbitpos=12 must lie between 32 and 63"),
        ({"reduced_phys_bits": 0}, "reduced_phys_bits=0 must lie between 1 and 63"),
        ({"remote_display_port_min": 80}, "between 5900 and 65535"),
        ({"migration_port_min": 50000}, "migration_port_min=50000 is above"),
        ({"max_asids": 3}, "Unknown settings max_asids; known are name, min_asid"),
    ],
)
def test_impossible_settings_are_refused_in_words(changes, message):
    with pytest.raises(SettingsError, match=message):
        HostSettings().replace(**changes)


@pytest.mark.parametrize("text", ["", "[]", "7"])
def test_what_is_no_settings_file_is_refused(text):
    with pytest.raises(SettingsError, match="JSON"):
        HostSettings.from_json(text)


def test_ports_reach_qemu_conf():
    settings = HostSettings(remote_display_port_min=6000, migration_port_max=49160)
    lines = libvirt_conf.qemu_conf(settings).splitlines()
    assert "remote_display_port_min = 6000" in lines
    assert "migration_port_max = 49160" in lines
    assert 'user = "root"' in lines
    assert "namespaces = []" in lines


def test_a_long_state_folder_gets_a_short_socket(tmp_path):
    short = Layout(tmp_path)
    assert short.libvirt_socket == tmp_path / "run" / "libvirt-sock"
    short.make_short_link()
    assert not short.short_link.is_symlink()

    long = Layout(tmp_path / ("x" * 120))
    assert len(os.fsencode(long.libvirt_socket)) <= 107
    long.make_short_link()
    assert long.short_link.readlink() == long.state
    long.remove_short_link()
    assert not long.short_link.is_symlink()


def test_the_uri_escapes_what_a_uri_gives_a_meaning(tmp_path):
    uri = SimulatedHost(HostSettings(), tmp_path / "a&b c").uri
    assert uri.endswith("/a%26b%20c/run/libvirt-sock")


def test_set_writes_what_kernel_and_qemu_will_say(tmp_path):
    host = SimulatedHost(HostSettings(min_asid=6, sev_es=True), tmp_path)
    if not host_module.shutil.which("qemu-system-x86_64"):
        pytest.skip("QEMU is not installed")
    host.layout.capability_cache.mkdir(parents=True)

    host.set(sev_es=False, cbitpos=47)

    assert (host.layout.parameters / "sev").read_text() == "Y\n"
    assert (host.layout.parameters / "sev_es").read_text() == "N\n"
    platform = json.loads((host.layout.bin / "sevsim.json").read_text())
    assert (platform["sev_es"], platform["cbitpos"]) == (False, 47)
    assert HostSettings.from_json(host.layout.settings.read_text()).cbitpos == 47
    assert not host.layout.capability_cache.exists()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, []),
        ({"sev_es": True}, []),
        ({"sev_es": True, "min_asid": 6}, ["70-sev-es.json"]),
        (
            {"sev_es": True, "sev_snp": True, "min_asid": 6},
            ["70-sev-es.json", "70-sev-snp.json"],
        ),
        ({"sev_es": True, "min_asid": 6, "es_snp_firmware": False}, []),
    ],
)
def test_each_generation_that_is_on_has_a_firmware(settings, names):
    found = firmware.descriptors(HostSettings(**settings))
    assert list(found) == names
    for name, text in found.items():
        feature = "amd-" + name.removeprefix("70-").removesuffix(".json")
        assert feature in json.loads(text)["features"]


def test_halting_firmware_ends_with_a_halt_where_the_processor_begins():
    real = bytes(range(256)) * 0x200
    image = firmware.halting(real)
    assert len(image) == 0x20000
    assert image[:-16] == real[:-16], "what it says of itself"
    assert image[-16:].rstrip(b"\0").endswith(bytes.fromhex("f4 eb fd"))


def test_a_live_host_can_be_given_real_firmware_and_halting_one(monkeypatch, tmp_path):
    for name in firmware.IMAGES:
        (tmp_path / "share" / name).parent.mkdir(parents=True)
        (tmp_path / "share" / name).write_bytes(b"real".ljust(64))
    share = tmp_path / "share"
    monkeypatch.setattr(userland.Userland, "share", lambda _, name: share / name)
    host = SimulatedHost(HostSettings(halting_firmware=True), tmp_path / "host")
    host.set()
    mounted = tmp_path / "host" / "OVMF_CODE_4M.fd"
    inode = mounted.stat().st_ino
    assert b"\xf4\xeb\xfd" in mounted.read_bytes()
    host.set(halting_firmware=False)
    assert mounted.read_bytes() == b"real".ljust(64)
    host.set(halting_firmware=True)
    assert b"\xf4\xeb\xfd" in mounted.read_bytes()
    assert mounted.stat().st_ino == inode, "a mount shows the file, not its name"


def test_a_host_of_its_own_firmware_copies_none(tmp_path):
    SimulatedHost(HostSettings(), tmp_path).set()
    assert not list(tmp_path.rglob("OVMF*.fd"))


def test_a_distribution_that_nobody_unpacked_is_named(tmp_path):
    host = SimulatedHost(HostSettings(distribution="etch"), tmp_path)
    with pytest.raises(UserlandError, match=r"No etch in .*: make setup-etch"):
        host.libvirtd_command()
    assert not userland.is_here("etch")


def test_this_machines_own_distribution_need_not_be_unpacked(monkeypatch, tmp_path):
    system = {"VERSION_CODENAME": "trixie"}
    monkeypatch.setattr(userland.platform, "freedesktop_os_release", lambda: system)
    assert type(userland.userland("trixie", tmp_path)) is userland.Userland


def test_another_distributions_programs_run_in_a_root_with_its_usr(tmp_path):
    libvirtd = tmp_path / "etch/usr/sbin/libvirtd"
    libvirtd.parent.mkdir(parents=True)
    libvirtd.touch()
    etch = userland.UnpackedUserland(tmp_path / "root", tmp_path / "etch")
    assert etch.program("libvirtd") == libvirtd
    assert etch.inside(libvirtd) == "/usr/sbin/libvirtd"
    chroot, root, *command = etch.command(["libvirtd", "-v"])
    assert chroot.endswith("/chroot") and root == str(tmp_path / "root")
    assert command == ["libvirtd", "-v"]
    with pytest.raises(UserlandError, match=r"No qemu in .*: see make setup-etch"):
        etch.program("qemu")


def test_nothing_is_mounted_where_the_machine_would_see_it(monkeypatch, tmp_path):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n")
    monkeypatch.setattr(mounts.os, "geteuid", lambda: 0)
    monkeypatch.setattr(mounts, "Path", lambda *_: mountinfo)
    with pytest.raises(mounts.NamespaceError, match="--propagation private"):
        mounts.require_private_namespace()


def test_only_root_prepares(monkeypatch, tmp_path):
    monkeypatch.setattr(mounts.os, "geteuid", lambda: 1000)
    with pytest.raises(mounts.NamespaceError, match="root"):
        SimulatedHost(HostSettings(), tmp_path / "state").prepare()
    assert not (tmp_path / "state").exists()


def test_wait_ready_tells_where_to_look(tmp_path):
    host = SimulatedHost(HostSettings(), tmp_path)
    with pytest.raises(HostError, match="libvirtd_command was not asked for"):
        host.wait_ready()
    _, environment = host.libvirtd_command()
    assert environment["SEVSIM_MAX_ASID"] == "15"
    with pytest.raises(HostError, match=r"not up in 0.01 s: see .*libvirtd\.log"):
        host.wait_ready(timeout=0.01)


@pytest.fixture
def real_sev(monkeypatch, tmp_path):
    """A machine whose kernel and PSP offer SEV, as files."""
    parameter, device = tmp_path / "sev-parameter", tmp_path / "sev-device"
    parameter.write_text("Y\n")
    device.touch()
    real_stat = os.stat_result
    number = os.makedev(10, 124)
    monkeypatch.setattr(host_module, "_PARAMETER", parameter)
    monkeypatch.setattr(host_module, "_DEVICE", device)
    monkeypatch.setattr(
        type(device),
        "stat",
        lambda self, **_: real_stat(
            [stat.S_IFCHR, 0, 0, 1, 0, 0, 0, 0, 0, 0], {"st_rdev": number}
        ),
    )
    return parameter, device


def test_a_machine_with_sev_is_used(real_sev):
    assert host_module.is_real_sev_host()
    assert host_module.host_kind() is RealHost


def test_a_machine_with_sev_off_is_not(real_sev):
    parameter, _ = real_sev
    parameter.write_text("N\n")
    assert not host_module.is_real_sev_host()


def test_a_machine_without_psp_is_not(real_sev):
    _, device = real_sev
    device.unlink()
    assert not host_module.is_real_sev_host()


def test_a_simulated_device_is_not_real(monkeypatch, tmp_path):
    parameter = tmp_path / "sev"
    parameter.write_text("Y\n")
    monkeypatch.setattr(host_module, "_PARAMETER", parameter)
    monkeypatch.setattr(host_module, "_DEVICE", host_module.Path("/dev/null"))
    assert host_module.host_kind() is SimulatedHost


def test_a_real_host_counts_by_the_misc_cgroup(monkeypatch, tmp_path):
    current = tmp_path / "misc.current"
    monkeypatch.setattr(host_module, "_MISC_CGROUP", current)
    host = RealHost(HostSettings(), tmp_path / "state")
    assert host.slots_in_use() == {"sev": 0, "sev_es_snp": 0}
    current.write_text("sev 3\nsev_es 1\n")
    assert host.slots_in_use() == {"sev": 3, "sev_es_snp": 1}
    assert "LD_PRELOAD" not in host.libvirtd_command()[1]


def test_the_command_line_refuses_in_one_line(tmp_path):
    command = [sys.executable, "-m", "devcloud.simhost", "--state", str(tmp_path)]
    result = subprocess.run(
        [*command, "--max-asid", "-1", "--", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("simhost: max_asid=-1 must lie between")
    assert len(result.stderr.splitlines()) == 1
