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
"""libvirt and QEMU: whether they are reached, and what they know of SEV."""

from __future__ import annotations

from sev_driver import slot_counts
from sev_driver.capabilities import Obstacle
from sev_driver.doctor import qemu_access
from sev_driver.doctor.evidence import (
    NOT_IN_ARCHIVE,
    NOT_LOOKED_FOR,
    Evidence,
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
        qemu_access.kvm_device,
        parent="libvirt.reach",
        explains=_UNREADABLE,
    ),
    Node(
        Check("libvirt.dev-sev", "/dev/sev for QEMU", "/dev/sev, libvirt's qemu.conf"),
        qemu_access.sev_device,
        parent="libvirt.dev-kvm",
        explains=_SAYS_NO,
    ),
    Node(
        Check(
            "libvirt.confinement",
            "AppArmor and SELinux",
            "/sys/module/apparmor, /sys/fs/selinux, dmesg",
        ),
        qemu_access.confinement,
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
