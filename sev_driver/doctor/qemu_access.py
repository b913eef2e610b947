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

"""/dev/kvm and /dev/sev: whether QEMU, started by libvirt, may open them."""

from __future__ import annotations

from sev_driver.detection import CACHE
from sev_driver.doctor.evidence import Evidence, Opening
from sev_driver.doctor.tree import Judgement, failed, passed, skipped
from sev_driver.model import MemoryEncryptionModel


def kvm_device(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
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


def sev_device(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
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


def confinement(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
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
