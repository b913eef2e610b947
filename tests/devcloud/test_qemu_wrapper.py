# SPDX-License-Identifier: Apache-2.0
"""The QEMU wrapper: command lines in and out, refusals, slots."""

import fcntl
import os
import subprocess
import sys

import ovmf_file
import pytest

from devcloud.simhost.sevsim import misc_cgroup, refusals, slots
from devcloud.simhost.sevsim.command_line import CommandLine
from devcloud.simhost.sevsim.platform import Platform

SEV_OBJECT = (
    '{"qom-type":"sev-guest","id":"lsec0","cbitpos":51,"reduced-phys-bits":1,'
    '"policy":%d}'
)
SNP_OBJECT = (
    '{"qom-type":"sev-snp-guest","id":"lsec0","cbitpos":51,"reduced-phys-bits":1,'
    '"policy":196608}'
)
RAM = '{"qom-type":"memory-backend-ram","id":"pc.ram","size":67108864}'
PLAIN, ES = SEV_OBJECT % 0x33, SEV_OBJECT % 0x37


def guest(*objects, machine="q35,pflash0=p0,confidential-guest-support=lsec0"):
    options = [word for value in objects for word in ("-object", value)]
    return CommandLine(["-S", "-machine", machine, "-accel", "kvm", *options])


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (["-accel", "kvm"], ["-accel", "tcg"]),
        (["-accel", "kvm,dirty-ring-size=4096"], ["-accel", "tcg"]),
        (["-accel", "tcg"], ["-accel", "tcg"]),
        (["-accel", "tcg,thread=multi"], ["-accel", "tcg,thread=multi"]),
        (["-machine", "none,accel=kvm:tcg"], ["-machine", "none,accel=tcg"]),
        (["-machine", "none,accel=tcg"], ["-machine", "none,accel=tcg"]),
        (
            ["-machine", "q35,memory-encryption=lsec0,usb=off"],
            ["-machine", "q35,usb=off"],
        ),
        (
            ["-machine", "q35,kernel_irqchip=split,confidential-guest-support=lsec0"],
            ["-machine", "q35"],
        ),
        (["-cpu", "host,migratable=on"], ["-cpu", "max,migratable=on"]),
        (["-cpu", "host"], ["-cpu", "max"]),
        (["-cpu", "hostile"], ["-cpu", "hostile"]),
        (["-cpu", "EPYC,topoext=on"], ["-cpu", "EPYC,topoext=on"]),
        (["-overcommit", "mem-lock=on"], ["-overcommit", "mem-lock=off"]),
        (["-object", PLAIN], []),
        (["-object", RAM], ["-object", RAM]),
        (["-object", "secret,id=a"], ["-object", "secret,id=a"]),
        (["-name", "guest=-cpu,x=on"], ["-name", "guest=-cpu,x=on"]),
        (["-version"], ["-version"]),
    ],
)
def test_arguments_are_rewritten(asked, given):
    assert CommandLine(["-m", "64", *asked, "-S"]).rewritten == [
        *("-m", "64"),
        *given,
        "-S",
    ]


@pytest.mark.parametrize(
    ("objects", "es", "snp", "pool"),
    [
        ([RAM], False, False, "sev"),
        ([RAM, PLAIN], False, False, "sev"),
        ([ES, RAM], True, False, "sev_es_snp"),
        ([SNP_OBJECT], False, True, "sev_es_snp"),
    ],
)
def test_the_generation_is_read_from_the_object(objects, es, snp, pool):
    command = guest(*objects)
    assert (command.es, command.snp) == (es, snp)
    assert slots.pool(command) == pool
    ends_at_reset = command.rewritten[-2:] == ["-action", "reboot=shutdown"]
    assert ends_at_reset == (es or snp)


def test_a_policy_may_be_written_in_hexadecimal():
    text = '{"qom-type":"sev-guest","policy":"0x37"}'
    assert guest(text).es


def test_a_probe_is_moved_to_another_socket():
    argv = ["-qmp", "unix:/lib/qmp.monitor,server=on,wait=off", "-daemonize"]
    command = CommandLine([*argv, "-pidfile", "/lib/qmp.pid"])
    assert command.probe_socket == "/lib/qmp.monitor"
    command.listen_at("/run/x/qmp")
    assert command.rewritten[:2] == ["-qmp", "unix:/run/x/qmp,server=on,wait=off"]
    assert command.rewritten[2:] == ["-daemonize", "-pidfile", "/lib/qmp.pid"]


def test_a_guests_monitor_is_the_listening_socket_libvirt_hands_over():
    monitor = "socket,id=charmonitor,fd=24,server=on,wait=off"
    agent = "socket,id=charchannel0,fd=25,server=on,wait=off"
    command = CommandLine(["-chardev", agent, "-chardev", monitor])
    assert command.monitor_fd == 24
    assert command.rewritten == command.original
    assert CommandLine(["-chardev", agent]).monitor_fd is None


@pytest.mark.parametrize(
    ("value", "mebibytes"),
    [
        ("64", 64),
        ("size=65536k", 64),
        ("size=2G,slots=4,maxmem=8g", 2048),
        ("size=4194304k,maxmem=1t", 4096),
    ],
)
def test_the_memory_is_read(value, mebibytes):
    command = CommandLine(["-m", value])
    assert command.memory == mebibytes << 20
    assert command.rewritten == ["-m", value]


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [(None, True), (1 << 30, True), ((1 << 30) + 4096, False), ((1 << 64) - 1, False)],
)
def test_plain_sev_needs_locked_memory(monkeypatch, tmp_path, wanted, refused):
    monkeypatch.setattr(refusals.resource, "getrlimit", lambda _: (64 << 20, 64 << 20))
    note = tmp_path / f"memlock-{os.getpid()}"
    if wanted is not None:
        note.write_text(f"{wanted}\n")
    platform = Platform(monitors=str(tmp_path), min_asid=6, sev_es=True, sev_snp=True)
    argv = ["-m", "1024", "-accel", "kvm", "-object"]
    lines = refusals.refusal(platform, CommandLine([*argv, PLAIN]))
    assert [
        f"({0x7F0000000000:#x}+{1 << 30:#x}) error 'Cannot" in x for x in lines
    ] == ([True] if refused else [])
    assert not note.exists()
    assert refusals.refusal(platform, CommandLine([*argv, SNP_OBJECT])) == []


SHARE = '{"driver":"vhost-user-fs-pci","id":"fs0","chardev":"c","tag":"t"}'
FULL = Platform(sev_es=True, sev_snp=True, min_asid=6)
NO_ES = Platform(min_asid=1)


@pytest.mark.parametrize(
    ("platform", "command", "message"),
    [
        (FULL, guest(RAM), None),
        (FULL, guest(PLAIN), None),
        (FULL, guest(ES), None),
        (FULL, CommandLine([*guest(RAM).original, "-device", SHARE]), None),
        (
            FULL,
            CommandLine([*guest(ES).original, "-device", SHARE]),
            "iommu_platform=true is not",
        ),
        (FULL, guest(SNP_OBJECT, machine="q35"), None),
        (FULL._replace(sev_snp=False), guest(ES), None),
        (NO_ES, guest(PLAIN), None),
        (FULL._replace(cbitpos=47), guest(PLAIN), "host '47' requested '51'"),
        (
            FULL,
            guest(PLAIN.replace('bits":1', 'bits":0')),
            "reduced_phys_bits check failed, it should be >=1, requested '0'",
        ),
        (NO_ES._replace(sev=False), guest(PLAIN), "ret=-25 fw_error=0 ''"),
        (NO_ES._replace(sev=False), guest(RAM), None),
        (NO_ES, guest(ES), "ret=-25"),
        (FULL._replace(sev_es=False, sev_snp=False), guest(ES), "ret=-25"),
        (Platform(sev_es=True, min_asid=1), guest(ES), "ret=-25"),
        (Platform(min_asid=16), guest(PLAIN), "ret=-25"),
        (FULL._replace(device="/nonexistent"), guest(RAM), None),
        (
            FULL._replace(device="/nonexistent"),
            guest(PLAIN),
            "sev_kvm_init: Failed to open /dev/sev 'No such file or directory'",
        ),
        (NO_ES, guest(SNP_OBJECT), "vm-type SEV-SNP not supported by KVM"),
        (FULL, guest(SNP_OBJECT), "pflash with kvm requires KVM readonly memory"),
        (
            FULL,
            guest(SNP_OBJECT.replace("196608", "65536"), machine="q35"),
            "SNP_LAUNCH_START ret=-22 fw_error=0 ''",
        ),
    ],
)
def test_refusals(platform, command, message):
    lines = refusals.refusal(platform, command)
    if message is None:
        assert lines == []
    else:
        assert message in lines[0]


@pytest.mark.parametrize("security", [PLAIN, ES, SNP_OBJECT])
@pytest.mark.parametrize(("hashes", "refused"), [("true", True), ("false", False)])
def test_kernel_hashes_without_a_place_are_refused(
    monkeypatch, tmp_path, security, hashes, refused
):
    monkeypatch.setattr(refusals, "_lock_limit", lambda _: 1 << 40)
    firmware = tmp_path / "OVMF.fd"
    firmware.write_bytes(ovmf_file.debian())
    security = security[:-1] + f',"kernel-hashes":{hashes}}}'
    argv = guest(security, machine="q35").original
    argv += ["-bios", str(firmware), "-kernel", "/boot/vmlinuz"]
    lines = refusals.refusal(FULL, CommandLine(argv))
    assert bool(lines) == refused
    assert not refused or "SEV: guest firmware hashes table area is inv" in lines[0]
    firmware.write_bytes(ovmf_file.amdsev())
    assert refusals.refusal(FULL, CommandLine(argv)) == []


def test_a_host_that_lies_starts_another_firmware():
    command = CommandLine(["-bios", "/a", "-m", "64"])
    command.replace_firmware("/b")
    assert command.rewritten == ["-bios", "/b", "-m", "64"]
    assert command.firmware == "/b"


@pytest.mark.parametrize(
    ("pool", "expected"), [("sev", [6, 7, 8]), ("sev_es_snp", [1, 2, 3, 4, 5])]
)
def test_asids_of_a_pool(pool, expected):
    platform = Platform(min_asid=6, max_asid=8)
    assert list(slots.asids(platform, pool)) == expected


def test_slots_are_held_by_whoever_has_the_file_open(tmp_path):
    folder = str(tmp_path)
    assert slots.in_use(folder) == {"sev": 0, "sev_es_snp": 0}
    first = slots.take(folder, "sev", range(1, 3))
    second = slots.take(folder, "sev", range(1, 3))
    assert os.get_inheritable(first)
    assert slots.take(folder, "sev", range(1, 3)) is None
    assert slots.in_use(folder) == {"sev": 2, "sev_es_snp": 0}
    os.close(first)
    assert slots.in_use(folder) == {"sev": 1, "sev_es_snp": 0}
    os.close(second)


def test_counting_and_taking_wait_for_each_other(tmp_path):
    """Else a count would take the last free slot from a guest that starts."""
    slots.in_use(str(tmp_path))
    pool = os.open(tmp_path / "sev", os.O_RDONLY)
    fcntl.flock(pool, fcntl.LOCK_EX)
    count = (
        f"from devcloud.simhost.sevsim.slots import in_use; in_use({str(tmp_path)!r})"
    )
    with subprocess.Popen([sys.executable, "-c", count]) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        os.close(pool)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        (Platform(min_asid=6, max_asid=15), "sev 10\nsev_es 5\n"),
        (Platform(min_asid=1, max_asid=15), "sev 15\n"),
        (Platform(min_asid=16, max_asid=15), "sev_es 15\n"),
        (Platform(min_asid=1, max_asid=0), ""),
    ],
)
def test_the_misc_control_group_leaves_out_what_there_is_none_of(platform, text):
    assert misc_cgroup.capacity(platform) == text


def test_the_misc_control_group_counts_what_is_in_use(tmp_path):
    platform = Platform(slots=str(tmp_path), control_group=str(tmp_path))
    held = slots.take(platform.slots, "sev_es_snp", range(1, 3))
    misc_cgroup.write_current(platform)
    assert (tmp_path / "misc.current").read_text() == "sev 0\nsev_es 1\n"
    os.close(held)
    misc_cgroup.write_current(platform)
    assert (tmp_path / "misc.current").read_text() == "sev 0\nsev_es 0\n"


def test_a_platform_survives_its_file(tmp_path):
    platform = Platform(max_asid=3, sev_es=True, slots="/a b")
    (tmp_path / "sevsim.json").write_text(platform.to_json())
    assert Platform.read(str(tmp_path / "sevsim.json")) == platform
