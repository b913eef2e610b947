# SPDX-License-Identifier: Apache-2.0

"""libvirt and QEMU: whether they are reached, and what they know of SEV."""

from __future__ import annotations

from sev_driver.doctor.host.evidence import (
    NOT_IN_ARCHIVE,
    NOT_LOOKED_FOR,
    Evidence,
    Opening,
)
from sev_driver.doctor.host.tree import (
    Outcome,
    by_the_driver,
    check,
    failed,
    passed,
    skipped,
    warned,
)
from sev_driver.host import slot_counts
from sev_driver.host.capabilities import ObstacleKind
from sev_driver.host.detection import CACHE
from sev_driver.host.facts import version_text
from sev_driver.model import MemoryEncryptionModel

#: Nova's releases that write loader/@secure beside os/@firmware, and the first libvirt
#: that is known to accept both.
_NOVA_WITH_LOADER_SECURE = (33, 34)
_TAKES_LOADER = (10, 0, 0)

_SAYS_NO = frozenset({ObstacleKind.LIBVIRT_SAYS_NO})
_UNREADABLE = frozenset({ObstacleKind.CAPABILITIES_UNREADABLE})

#: What libvirt says where it may not be asked, in any of these words.
_NOT_ALLOWED = ("permission denied", "authentication", "polkit", "access denied")


def is_out_of_reach(why: str) -> bool:
    """Return whether libvirt may be well, and only this process cannot ask it."""
    return "libvirt-python" in why or any(each in why.lower() for each in _NOT_ALLOWED)


@check(
    "libvirt.reach",
    "libvirt",
    "libvirt, at --connect",
    parent="processor.physical",
    explains=_UNREADABLE,
)
def _reach(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    libvirt = evidence.libvirt
    if libvirt.value is not None:
        return passed(f"{libvirt.value} answers")
    # Nobody has asked it, which says nothing of libvirt.
    if libvirt.unknown == NOT_LOOKED_FOR or libvirt.unknown.endswith(NOT_IN_ARCHIVE):
        return skipped(libvirt.unknown)
    why = libvirt.unknown or "it does not exist"
    if "libvirt-python" in why:
        remedy = "run sev-doctor with the Python that runs nova-compute"
    elif is_out_of_reach(why):
        remedy = "run sev-doctor as root, or as a member of the group libvirt"
    else:
        remedy = (
            "systemctl start libvirtd, or virtqemud.socket if libvirt is modular; "
            "if that fails, see journalctl -u libvirtd -u virtqemud"
        )
    return failed(why, remedy)


@check(
    "libvirt.dev-kvm",
    "/dev/kvm for QEMU",
    "/dev/kvm, libvirt's qemu.conf",
    parent="libvirt.reach",
    explains=_UNREADABLE,
)
def kvm_device(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    device = evidence.kvm_device
    if device.unknown:
        return skipped(f"/dev/kvm: {device.unknown}")
    if device.value is None:
        return failed(
            "there is no /dev/kvm",
            "modprobe kvm_amd; if that fails, set SVM Mode to Enabled in the "
            "BIOS setup (AMD CBS > CPU Common Options)",
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


@check(
    "libvirt.dev-sev",
    "/dev/sev for QEMU",
    "/dev/sev, libvirt's qemu.conf",
    parent="libvirt.dev-kvm",
    explains=_SAYS_NO,
)
def sev_device(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
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
            "chmod 0600 /dev/sev, find what changed it (a udev rule?), and restart "
            f"{_daemon(evidence)}",
        )
    settings = evidence.qemu_conf.value or {}
    in_the_open = settings.get("namespaces", "-").strip("[] ") == ""
    user = _qemu_user(evidence)
    if in_the_open and not device.value.mode & 0o066 and user != device.value.owner:
        return failed(
            f"/dev/sev is {device.value}, and qemu.conf has namespaces = []: libvirt "
            f"does not give it to QEMU, which runs as {user}",
            "remove namespaces from /etc/libvirt/qemu.conf, and restart "
            f"{_daemon(evidence)}",
        )
    return passed(f"/dev/sev is {device.value}; libvirt gives it to QEMU")


def _closed_to_all(opening: Opening, daemon: str) -> tuple[str, str]:
    """Return the cause and the remedy if not even root can open /dev/sev."""
    # libvirt caches the capabilities that QEMU reported.
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


_SELINUX = {"1": "enforces", "0": "is permissive"}


@check(
    "libvirt.confinement",
    "AppArmor and SELinux",
    "/sys/module/apparmor, /sys/fs/selinux, dmesg",
    parent="libvirt.dev-sev",
    explains=_SAYS_NO,
)
def confinement(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
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
        why = evidence.kernel_log.unknown or "there is no log"
        if not found:
            return passed("neither AppArmor nor SELinux is on")
        return skipped(f"{words}; the kernel's log cannot be read: {why}")
    return passed(f"{words or 'none is on'}; no denial of /dev/sev is seen")


def _denies(line: str) -> bool:
    return "/dev/sev" in line and ("DENIED" in line or "denied" in line)


@check(
    "libvirt.domain-capabilities",
    "SEV in libvirt's domain capabilities",
    "virsh domcapabilities --machine q35",
    parent="libvirt.confinement",
)
@by_the_driver(ObstacleKind.CAPABILITIES_UNREADABLE, ObstacleKind.LIBVIRT_SAYS_NO)
def _domain(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    domain = evidence.facts.domain
    if domain is None:
        return skipped("libvirt was not reached")
    if not domain.sev:
        return skipped("libvirt reports no SEV, as expected")
    return passed("libvirt reports sev supported='yes'")


@check(
    "libvirt.versions",
    "Versions of libvirt and QEMU",
    "virsh version, the version of Nova",
    parent="libvirt.domain-capabilities",
)
@by_the_driver(ObstacleKind.VERSION_TOO_OLD)
def _versions(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    versions = evidence.facts.versions
    known = [
        f"{name} {version_text(version)}"
        for name, version in (("libvirt", versions.libvirt), ("QEMU", versions.qemu))
        if version is not None
    ]
    release, libvirt = evidence.nova_release.value, versions.libvirt
    if release in _NOVA_WITH_LOADER_SECURE and libvirt and libvirt < _TAKES_LOADER:
        return warned(
            f"libvirt {version_text(libvirt)} refuses every UEFI guest of Nova "
            f"{release} that is not encrypted (loader attribute 'secure'), with any "
            "driver",
            "use libvirt 10.0 or later, or give plain guests images that boot by BIOS",
        )
    return passed(", ".join(known)) if known else skipped("the versions are not known")


@check(
    "libvirt.launch-security",
    "Types of launchSecurity",
    "virsh domcapabilities --machine q35",
    parent="libvirt.versions",
)
@by_the_driver(ObstacleKind.TYPE_MISSING)
def _types(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    domain = evidence.facts.domain
    if domain is None:
        return skipped("libvirt was not reached")
    if domain.sectypes is None:
        return passed("libvirt is older than 10.5 and lists none")
    return passed(f"libvirt lists {', '.join(sorted(domain.sectypes)) or 'none'}")


@check(
    "libvirt.slots",
    "Number of slots",
    "libvirt's domain capabilities, CPUID 0x8000001F, misc.capacity",
    parent="libvirt.domain-capabilities",
)
@by_the_driver(ObstacleKind.SLOTS_UNREADABLE)
def _slots(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    count = slot_counts.count_slots(evidence.full_facts).of(model)
    if count is None:
        return skipped("no source gives a number")
    return passed(f"{count.number} slots ({count.source})")
