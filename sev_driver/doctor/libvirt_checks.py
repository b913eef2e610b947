#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
"""libvirt and QEMU: whether they are reached, see the devices, and know SEV."""

from __future__ import annotations

from sev_driver import slot_counts
from sev_driver.capabilities import Obstacle
from sev_driver.detection import CACHE
from sev_driver.doctor.evidence import (
    NOT_IN_ARCHIVE,
    NOT_LOOKED_FOR,
    Evidence,
    Opening,
)
from sev_driver.doctor.finding import Check
from sev_driver.doctor.tree import (
    Judgement,
    Node,
    by_the_driver,
    failed,
    passed,
    skipped,
)
from sev_driver.facts import version_text
from sev_driver.model import MemoryEncryptionModel

_SAYS_NO = frozenset({Obstacle.LIBVIRT_SAYS_NO})
_UNREADABLE = frozenset({Obstacle.CAPABILITIES_UNREADABLE})

#: What libvirt says where it may not be asked, in any of these words.
_NOT_ALLOWED = ("permission denied", "authentication", "polkit", "access denied")


def is_out_of_reach(why: str) -> bool:
    """Whether libvirt may be well, and only this process cannot ask it."""
    return "libvirt-python" in why or any(each in why.lower() for each in _NOT_ALLOWED)


def _reach(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    libvirt = evidence.libvirt
    if libvirt.value is not None:
        return passed(f"{libvirt.value} answers")
    # Nobody has asked it, which says nothing of libvirt.
    if libvirt.unknown == NOT_LOOKED_FOR or libvirt.unknown.endswith(NOT_IN_ARCHIVE):
        return skipped(libvirt.unknown)
    why = libvirt.unknown or "it is not there"
    if "libvirt-python" in why:
        remedy = "run sev-doctor with the Python that runs nova-compute"
    elif is_out_of_reach(why):
        remedy = "run sev-doctor as root, or as a member of the group libvirt"
    else:
        remedy = (
            "systemctl start libvirtd, or virtqemud.socket where libvirt is modular; "
            "where that fails, see journalctl -u libvirtd -u virtqemud"
        )
    return failed(why, remedy)


def _kvm_device(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    device = evidence.kvm_device
    if device.unknown:
        return skipped(f"/dev/kvm: {device.unknown}")
    if device.value is None:
        return failed(
            "there is no /dev/kvm",
            "modprobe kvm_amd; where that fails, set SVM Mode to Enabled in the "
            "firmware set-up (AMD CBS > CPU Common Options)",
        )
    user = _qemu_user(evidence)
    if device.value.mode & 0o066 or device.value.owner == user:
        return passed(f"/dev/kvm is {device.value}")
    return failed(
        f"/dev/kvm is {device.value}: QEMU, which runs as {user}, cannot open it",
        "chgrp kvm /dev/kvm and chmod 0660 /dev/kvm, as udev does",
    )


def _qemu_user(evidence: Evidence) -> str:
    settings = evidence.qemu_conf.value or {}
    return settings.get("user") or "a user of its own"


def _daemon(evidence: Evidence) -> str:
    """Return the unit that starts QEMU; libvirt's usual one where it is not known."""
    daemon = evidence.daemon.value
    return "libvirtd" if daemon is None else daemon.name


def _sev_device(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    device = evidence.sev_device
    if device.unknown:
        return skipped(f"/dev/sev: {device.unknown}")
    if device.value is None:
        return skipped("there is no /dev/sev here to look at")
    opening = evidence.sev_opening.value
    if opening and opening.error and evidence.read_as == "root":
        return failed(*_closed_to_all(opening, _daemon(evidence)))
    if device.value.mode & 0o600 != 0o600:
        return failed(
            f"/dev/sev is {device.value}: not even its owner may open it",
            "chmod 0600 /dev/sev, see what changed it (a udev rule?), and restart "
            f"{_daemon(evidence)}",
        )
    settings = evidence.qemu_conf.value or {}
    in_the_open = settings.get("namespaces", "-").strip("[] ") == ""
    user = _qemu_user(evidence)
    if in_the_open and not device.value.mode & 0o066 and user != device.value.owner:
        return failed(
            f"/dev/sev is {device.value}, and qemu.conf has namespaces = []: libvirt "
            f"does not give it to QEMU, which runs as {user}",
            "take namespaces out of /etc/libvirt/qemu.conf, and restart "
            f"{_daemon(evidence)}",
        )
    return passed(f"/dev/sev is {device.value}; libvirt gives it to QEMU")


def _closed_to_all(opening: Opening, daemon: str) -> tuple[str, str]:
    """Return what is so, and the remedy, where not even root can open /dev/sev."""
    # libvirt would go on saying no: it keeps what QEMU told it.
    again = f"rm -r {CACHE} and systemctl restart {daemon}"
    if opening.nodev:
        return (
            f"not even root can open /dev/sev ({opening.error}): it lies on a mount "
            "with nodev",
            f"mount -o remount,bind,dev /dev/sev, or /dev (findmnt -T /dev/sev); then "
            f"{again}",
        )
    return (
        f"not even root can open /dev/sev ({opening.error}), as in a container that "
        "was not given the device",
        f"give it to {daemon}'s container (--device /dev/sev), or to its unit "
        f"(DeviceAllow=/dev/sev rw); then {again}",
    )


def _confinement(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    denied = [line for line in evidence.kernel_log.value or () if _denies(line)]
    if denied:
        return failed(
            f"the kernel's log: {denied[-1][-160:].strip()}",
            "allow libvirtd and QEMU /dev/sev: for AppArmor in "
            "/etc/apparmor.d/local/abstractions/libvirt-qemu and "
            "/etc/apparmor.d/local/usr.sbin.libvirtd, for SELinux by restorecon "
            "/dev/sev",
        )
    found = []
    if (evidence.apparmor.value or "").upper().startswith("Y"):
        found.append("AppArmor is on")
    if evidence.selinux.value is not None:
        found.append(f"SELinux {_SELINUX.get(evidence.selinux.value, 'is on')}")
    asked = (("AppArmor", evidence.apparmor), ("SELinux", evidence.selinux))
    unread = [name for name, fact in asked if fact.unknown]
    if unread:
        found.append(f"whether {' and '.join(unread)} is on cannot be read")
    words = ", ".join(found)
    if evidence.kernel_log.value is None:
        why = evidence.kernel_log.unknown or "there is none"
        if not found:
            return passed("neither AppArmor nor SELinux is on")
        return skipped(f"{words}; the kernel's log cannot be read: {why}")
    return passed(f"{words or 'none is on'}; no denial of /dev/sev is seen")


_SELINUX = {"1": "enforces", "0": "is permissive"}


def _denies(line: str) -> bool:
    return "/dev/sev" in line and ("DENIED" in line or "denied" in line)


def _domain(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    domain = evidence.facts.domain
    if domain is None:
        return skipped("libvirt was not reached")
    if not domain.sev:
        return skipped("libvirt reports no SEV, as is to be expected")
    return passed("libvirt reports sev supported='yes'")


def _versions(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    versions = evidence.facts.versions
    known = [
        f"{name} {version_text(version)}"
        for name, version in (("libvirt", versions.libvirt), ("QEMU", versions.qemu))
        if version is not None
    ]
    return passed(", ".join(known)) if known else skipped("they are not known")


def _types(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    domain = evidence.facts.domain
    if domain is None:
        return skipped("libvirt was not reached")
    if domain.sectypes is None:
        return passed("libvirt lists none, being older than 10.5")
    return passed(f"libvirt lists {', '.join(sorted(domain.sectypes)) or 'none'}")


def _slots(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    count = slot_counts.count(evidence.facts).of(model)
    if count is None:
        return skipped("no source gives a number")
    return passed(f"{count.number} slots ({count.source})")


NODES = (
    Node(
        Check("libvirt.reach", "libvirt", "libvirt, at --connect"),
        _reach,
        explains=_UNREADABLE,
    ),
    Node(
        Check("libvirt.dev-kvm", "/dev/kvm for QEMU", "/dev/kvm, libvirt's qemu.conf"),
        _kvm_device,
        parent="libvirt.reach",
        explains=_UNREADABLE,
    ),
    Node(
        Check("libvirt.dev-sev", "/dev/sev for QEMU", "/dev/sev, libvirt's qemu.conf"),
        _sev_device,
        parent="libvirt.dev-kvm",
        explains=_SAYS_NO,
    ),
    Node(
        Check(
            "libvirt.confinement",
            "AppArmor and SELinux",
            "/sys/module/apparmor, /sys/fs/selinux, dmesg",
        ),
        _confinement,
        parent="libvirt.dev-sev",
        explains=_SAYS_NO,
    ),
    Node(
        Check(
            "libvirt.domain-capabilities",
            "SEV in libvirt's domain capabilities",
            "virsh domcapabilities --machine q35",
        ),
        by_the_driver(
            Obstacle.CAPABILITIES_UNREADABLE, Obstacle.LIBVIRT_SAYS_NO, good=_domain
        ),
        parent="libvirt.confinement",
    ),
    Node(
        Check("libvirt.versions", "Versions of libvirt and QEMU", "virsh version"),
        by_the_driver(Obstacle.VERSION_TOO_OLD, good=_versions),
        parent="libvirt.domain-capabilities",
    ),
    Node(
        Check(
            "libvirt.launch-security",
            "Types of launchSecurity",
            "virsh domcapabilities --machine q35",
        ),
        by_the_driver(Obstacle.TYPE_MISSING, good=_types),
        parent="libvirt.versions",
    ),
    Node(
        Check(
            "libvirt.slots",
            "Number of slots",
            "libvirt's domain capabilities, CPUID 0x8000001F, misc.capacity",
        ),
        by_the_driver(Obstacle.SLOTS_UNREADABLE, good=_slots),
        parent="libvirt.domain-capabilities",
    ),
)
