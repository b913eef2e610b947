# SPDX-License-Identifier: Apache-2.0
"""The simulated SEV host with the real libvirtd and QEMU; from outside of it."""

import base64
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import owners_keys
import pytest

from devcloud.simhost import userland
from devcloud.simhost.host import SimulatedHost
from devcloud.simhost.settings import HostSettings
from devcloud.simhost.sevsim import launch

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")
libvirt.registerErrorHandler(lambda *_: None, None)  # it would print what we expect

SBIN = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin"
OVMF = Path("/usr/share/OVMF")
REPOSITORY = Path(__file__).parents[2]

pytestmark = [  # needs root
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
    pytest.mark.skipif(
        not shutil.which("libvirtd", path=SBIN), reason="libvirtd is not installed"
    ),
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="QEMU is not installed"
    ),
    pytest.mark.skipif(not OVMF.exists(), reason="OVMF is not installed"),
]

PAUSED = libvirt.VIR_DOMAIN_START_PAUSED
SEV, SEV_ES, SNP = 0x33, 0x37, 0x30000
LIBVIRT_WITH_SNP = 10_005_000
PFLASH = f"""
    <loader readonly='yes' type='pflash'>{OVMF}/OVMF_CODE_4M.fd</loader>
    <nvram template='{OVMF}/OVMF_VARS_4M.fd'/>"""
ROM = "<loader type='rom'>/usr/share/ovmf/OVMF.fd</loader>"


def until(condition, what, timeout=15):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout} s: {what}"
        time.sleep(0.02)


def lock_holder(path):
    """The process that has the file locked, by its id out here."""
    inode = str(path.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[5].split(":")[-1] == inode and words[1] != "->":
            return int(words[4])
    return None


class LiveHost:
    """A host started by the command line, seen from the machine."""

    def __init__(self, state, *options):
        command = [sys.executable, "-m", "devcloud.simhost", "--state", str(state)]
        # What runs beside libvirtd ends when we close its input.
        command += [*options, "--", "sh", "-c", "echo up; exec cat"]
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "NOTHING IS ENCRYPTED" in self.process.stderr.readline()
        assert self.process.stdout.readline() == "up\n", self.process.stderr.read()
        settings = HostSettings.from_json((Path(state) / "settings.json").read_text())
        self.host = SimulatedHost(settings, state)
        self.connection = libvirt.open(self.host.uri)

    @property
    def libvirtd_pid(self):
        return lock_holder(self.host.layout.outside("/run/libvirt/libvirtd.pid"))

    def restart_libvirtd(self):
        self.connection.close()
        # Not SIGTERM: just after a guest ended, libvirt 11.3 takes 30 s to obey.
        os.kill(self.libvirtd_pid, signal.SIGKILL)
        assert "started again" in self.process.stderr.readline()
        self.connection = libvirt.open(self.host.uri)

    def sev(self, virt_type="kvm"):
        text = self.connection.getDomainCapabilities(None, None, None, virt_type)
        return ET.fromstring(text).find("features/sev")

    def start(self, name, policy=SEV, flags=PAUSED, **guest):
        return self.connection.createXML(guest_xml(name, policy, **guest), flags)

    def qemu_pid(self, pool="sev"):
        (pid,) = self.qemu_pids(pool)
        return pid

    def qemu_pids(self, pool="sev"):
        holders = map(lock_holder, (self.host.layout.slots / pool).iterdir())
        return [pid for pid in holders if pid is not None]

    def end(self):
        with contextlib.suppress(libvirt.libvirtError):
            self.connection.close()
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0


def guest_xml(
    name,
    policy,
    cbitpos=51,
    virt_type="kvm",
    firmware=PFLASH,
    memory="<memoryBacking><locked/></memoryBacking>",
    security="",
    hashes="no",
):
    model = "sev-snp" if policy == SNP else "sev"
    return f"""
    <domain type='{virt_type}'><name>{name}</name>
      <memory unit='MiB'>64</memory>
      <os>
        <type arch='x86_64' machine='q35'>hvm</type>
        {firmware}
      </os>
      <features><acpi/></features>
      {memory}
      <devices>
        <controller type='usb' model='none'/>
        <memballoon model='none'/>
      </devices>
      <launchSecurity type='{model}' kernelHashes='{hashes}'>
        <cbitpos>{cbitpos}</cbitpos><reducedPhysBits>1</reducedPhysBits>
        <policy>{policy:#x}</policy>
        {security}
      </launchSecurity>
    </domain>"""


@contextlib.contextmanager
def live_host(state, *options):
    live = LiveHost(state, *options)
    try:
        yield live
    finally:
        live.end()


@pytest.fixture(scope="module")
def _node1(tmp_path_factory):
    with live_host(tmp_path_factory.mktemp("node1")) as live:
        yield live


@pytest.fixture(scope="module")
def _node2(tmp_path_factory):
    options = ("--name", "node2", "--min-asid", "3", "--max-asid", "4")
    options += ("--sev-es", "--sev-snp")
    with live_host(tmp_path_factory.mktemp("node2"), *options) as live:
        yield live


@pytest.fixture(scope="module")
def _trixie(tmp_path_factory):
    if not userland.is_here("trixie"):
        pytest.skip("Debian 13 is not unpacked: make setup-trixie")
    options = ("--distribution", "trixie", "--min-asid", "6", "--sev-es", "--sev-snp")
    with live_host(tmp_path_factory.mktemp("trixie"), *options) as live:
        yield live


def without_guests(live):
    yield live
    for domain in live.connection.listAllDomains():
        with contextlib.suppress(libvirt.libvirtError):  # it ended just now
            domain.destroy()
    until(lambda: not any(live.host.slots_in_use().values()), "slots are free")


@pytest.fixture
def node1(_node1):
    """15 slots for plain SEV, none for ES."""
    yield from without_guests(_node1)


@pytest.fixture
def node2(_node2):
    """2 slots for plain SEV, 2 that ES and SNP share."""
    yield from without_guests(_node2)


@pytest.fixture
def trixie(_trixie):
    """Debian 13's libvirt: 10 slots for plain SEV, 5 that ES and SNP share."""
    yield from without_guests(_trixie)


@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
def test_domain_capabilities_count_the_slots(node1, virt_type):
    sev = node1.sev(virt_type)
    assert sev.get("supported") == "yes"
    assert sev.findtext("maxGuests") == "15"
    assert sev.findtext("maxESGuests") == "0"
    assert sev.findtext("cbitpos") == "51"


def test_two_hosts_at_the_same_time(node1, node2):
    assert node2.sev().findtext("maxGuests") == "2"
    assert node2.sev().findtext("maxESGuests") == "2"
    node1.start("guest")
    assert node2.connection.listAllDomains() == []
    assert node2.host.slots_in_use() == {"sev": 0, "sev_es_snp": 0}
    assert node1.connection.getHostname() == "node1"
    assert node2.connection.getHostname() == "node2"


def test_a_guest_is_defined_started_and_holds_a_slot(node1):
    domain = node1.connection.defineXML(guest_xml("guest", SEV))
    try:
        domain.create()
        assert domain.isActive()
        assert domain.launchSecurityInfo()["sev-policy"] == SEV
        assert node1.host.slots_in_use() == {"sev": 1, "sev_es_snp": 0}
        domain.destroy()
    finally:
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)


def test_the_sixteenth_guest_of_fifteen_is_refused(node1):
    for number in range(15):
        node1.start(f"guest{number}")
    assert node1.host.slots_in_use()["sev"] == 15
    with pytest.raises(libvirt.libvirtError, match="failed to initialize ret=-16"):
        node1.start("guest15")


def test_es_and_plain_sev_have_slots_of_their_own(node2):
    for name, policy in (("a", SEV), ("b", SEV), ("c", SEV_ES), ("d", SEV_ES)):
        node2.start(name, policy)
    assert node2.host.slots_in_use() == {"sev": 2, "sev_es_snp": 2}
    for policy in (SEV, SEV_ES):
        with pytest.raises(libvirt.libvirtError, match="ret=-16 fw_error=0 ''"):
            node2.start("e", policy)


def test_a_killed_qemu_frees_its_slot(node1):
    node1.start("guest")
    os.kill(node1.qemu_pid(), signal.SIGKILL)
    until(lambda: node1.host.slots_in_use()["sev"] == 0, "the slot is free")
    until(lambda: not node1.connection.listAllDomains(), "libvirtd noticed")


def test_no_proxy_outlives_its_qemu(node1):
    node1.start("guest")
    (guest,) = node1.host.layout.outside("/run/libvirt/simhost").iterdir()
    os.kill(node1.qemu_pid(), signal.SIGKILL)
    until(lambda: not guest.exists(), "the proxy cleaned up")


@pytest.mark.parametrize("save", ["save", "managedSave"])
def test_memory_is_not_saved(node1, tmp_path, save):
    domain = node1.start("guest", flags=0)
    arguments = {"save": [str(tmp_path / "memory")], "managedSave": []}[save]
    if save == "managedSave":
        domain = node1.connection.defineXML(domain.XMLDesc())
    with pytest.raises(libvirt.libvirtError, match="Migration is not implemented"):
        getattr(domain, save)(*arguments)
    assert domain.isActive()
    if save == "managedSave":
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)


@pytest.mark.parametrize(
    ("guest", "message"),
    [
        ({"cbitpos": 47}, "cbitpos check failed, host '51' requested '47'"),
        ({"policy": SEV_ES}, "failed to initialize ret=-25"),
        ({"memory": ""}, "failed to register region .* 'Cannot allocate memory'"),
        ({"virt_type": "qemu"}, "cgs->ready|does not support confidential guest"),
    ],
    ids=["wrong-cbitpos", "es-without-asids", "not-locked", "without-kvm"],
)
def test_what_hardware_refuses_is_refused(node1, guest, message):
    with pytest.raises(libvirt.libvirtError, match=message):
        node1.start("guest", **guest)
    assert node1.host.slots_in_use()["sev"] == 0


def test_a_hard_limit_allows_to_lock_memory(node1):
    limit = "<memtune><hard_limit unit='MiB'>320</hard_limit></memtune>"
    node1.start("guest", memory=limit)
    assert node1.host.slots_in_use()["sev"] == 1


def test_an_es_guest_does_not_survive_a_reset(node2):
    es = node2.start("es", SEV_ES, flags=0)
    plain = node2.start("plain", SEV, flags=0)
    for domain in (es, plain):
        domain.reset()
    until(lambda: node2.host.slots_in_use()["sev_es_snp"] == 0, "the guest ended")
    assert plain.isActive()


def test_a_libvirt_that_does_not_know_snp_refuses_it(node2):
    if node2.connection.getLibVersion() >= LIBVIRT_WITH_SNP:
        pytest.skip("this libvirt knows it")
    with pytest.raises(libvirt.libvirtError, match="sev-snp"):
        node2.start("snp", SNP, firmware=ROM)


def test_snp_on_a_libvirt_that_knows_it(trixie):
    assert trixie.connection.getLibVersion() >= LIBVIRT_WITH_SNP
    with pytest.raises(libvirt.libvirtError, match="pflash with kvm requires"):
        trixie.start("snp", SNP)
    snp = trixie.start("snp", SNP, flags=0, firmware=ROM, memory="")
    assert trixie.host.slots_in_use() == {"sev": 0, "sev_es_snp": 1}
    with pytest.raises(libvirt.libvirtError):
        snp.launchSecurityInfo()
    snp.reset()
    until(lambda: trixie.host.slots_in_use()["sev_es_snp"] == 0, "the guest ended")


def in_base64(data):
    return base64.b64encode(data).decode()


def test_snp_guest_is_measured_and_its_id_block_compared(trixie):
    host = trixie.host.layout
    like_this = {"flags": 0, "firmware": ROM, "memory": ""}
    snp = trixie.start("snp", SNP, **like_this)
    launched = launch.read_record(str(host.launches), snp.UUIDString())
    assert launched["policy"] == SNP
    snp.destroy()
    until(
        lambda: launch.read_record(str(host.launches), snp.UUIDString()) is None,
        "its record is free",
    )

    right = owners_keys.sign(launched["measurement"])
    other = owners_keys.sign("ab" * 48)
    forged = right[0], other[1]
    for (block, auth), said in (
        (right, None),
        (other, "SNP_LAUNCH_FINISH ret=-5 fw_error=11 'Bad measurement'"),
        (forged, "SNP_LAUNCH_FINISH ret=-5 fw_error=10 'Bad signature'"),
    ):
        security = f"<idBlock>{in_base64(block)}</idBlock>"
        security += f"<idAuth>{in_base64(auth)}</idAuth>"
        if said is None:
            trixie.start("good", SNP, security=security, **like_this).destroy()
            continue
        # libvirt repeats what QEMU says when it ends.
        with pytest.raises(libvirt.libvirtError, match=said):
            trixie.start("bad", SNP, security=security, **like_this)
    until(lambda: not any(trixie.host.slots_in_use().values()), "slots are free")


@pytest.mark.parametrize(
    ("policy", "firmware"), [(SEV, PFLASH), (SNP, ROM)], ids=["sev", "snp"]
)
def test_kernel_hashes_need_a_place_in_the_firmware(trixie, policy, firmware):
    kernel = f"<kernel>{__file__}</kernel>"
    said = "SEV: guest firmware hashes table area is invalid"
    with pytest.raises(libvirt.libvirtError, match=said):
        trixie.start("guest", policy, firmware=firmware + kernel, hashes="yes")


@pytest.mark.parametrize(
    ("policy", "loader"),
    [(SEV, "pflash"), (SEV_ES, "pflash"), (SNP, "rom")],
    ids=["sev", "es", "snp"],
)
def test_each_generation_finds_a_firmware_of_its_own(trixie, policy, loader):
    stateless = "<loader stateless='yes'/>" if policy == SNP else ""
    xml = guest_xml("guest", policy, firmware=stateless)
    domain = trixie.connection.createXML(xml.replace("<os>", "<os firmware='efi'>"))
    found = ET.fromstring(domain.XMLDesc()).find("os/loader")
    assert found.get("type") == loader
    assert found.text.startswith("/usr/share/")
    # What nova-compute reads outside is what libvirt has read inside.
    names = os.listdir(f"/proc/{trixie.libvirtd_pid}/root/etc/qemu/firmware")
    assert set(names) == {"70-sev-es.json", "70-sev-snp.json"}


def test_the_firmware_of_a_generation_goes_with_it(trixie):
    trixie.host.set(sev_snp=False)
    assert os.listdir(trixie.host.layout.firmware) == ["70-sev-es.json"]
    trixie.host.set(sev_snp=True, es_snp_firmware=False)
    assert os.listdir(trixie.host.layout.firmware) == []
    trixie.host.set(es_snp_firmware=True)


def test_libvirtd_finds_no_control_groups_to_leave_behind(node1):
    mounts = Path(f"/proc/{node1.libvirtd_pid}/mounts").read_text()
    assert "/var/lib/libvirt" in mounts
    assert "cgroup" not in mounts


def test_guests_survive_a_restart_of_libvirtd(node1):
    node1.start("guest", flags=0)
    pid = node1.qemu_pid()
    node1.restart_libvirtd()
    domain = node1.connection.lookupByName("guest")
    assert domain.isActive()
    assert domain.launchSecurityInfo()["sev-policy"] == SEV
    assert node1.qemu_pid() == pid


def test_sev_can_be_switched_off_and_on(node2):
    node2.host.set(sev=False)
    try:
        node2.restart_libvirtd()
        assert node2.sev().get("supported") == "no"
        with pytest.raises(libvirt.libvirtError, match=r"(?i)sev.* not supported"):
            node2.start("guest")
    finally:
        node2.host.set(sev=True)
        node2.restart_libvirtd()
    assert node2.sev().get("supported") == "yes"


@pytest.mark.parametrize(
    ("option", "parameter"), [("--no-psp", "Y"), ("--no-smee", "N")]
)
def test_a_host_without_its_secure_processor(tmp_path, option, parameter):
    with live_host(tmp_path, option) as live:
        assert live.sev().get("supported") == "no"
        assert (live.host.layout.parameters / "sev").read_text() == f"{parameter}\n"
        with pytest.raises(libvirt.libvirtError, match=r"(?i)sev.* not supported"):
            live.start("guest")


def test_a_host_where_libvirtd_is_down(tmp_path):
    command = [sys.executable, "-m", "devcloud.simhost", "--state", str(tmp_path)]
    command += ["--no-libvirtd", "--", "sh", "-c", "test -e /dev/sev && virsh uri"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr


def test_all_ends_with_the_host_and_with_a_long_path(tmp_path):
    state = tmp_path / ("long" * 30) / "with a space, a comma: and a colon"
    live = LiveHost(state)
    link = live.host.layout.short_link
    assert link.is_symlink()
    live.start("guest", flags=0)
    pids = [live.qemu_pid(), live.libvirtd_pid]
    mounts = [f"/proc/{pid}/mountinfo" for pid in pids]
    assert all(map(os.path.exists, mounts))
    live.process.kill()
    live.process.wait()  # its input stays open, which would end it as well
    until(lambda: not any(map(os.path.exists, mounts)), "every process is gone")
    live.process.communicate()
    assert str(state) not in Path("/proc/self/mountinfo").read_text()
    live.host.forget()
    assert not link.is_symlink()
