# SPDX-License-Identifier: Apache-2.0
"""Why QEMU on such a host would not start a guest, in QEMU's words."""

from __future__ import annotations

import os
import resource

from . import device, guest_firmware, slots
from .command_line import CommandLine
from .platform import Platform

EBUSY, EINVAL, ENOTTY = 16, 22, 25
_ALWAYS_ONE = 1 << 17  # of a policy of SEV-SNP
_UNLIMITED = (1 << 64) - 1  # RLIM_INFINITY, as C writes it
_KVM_FAILED = "-accel kvm: failed to initialize kvm: Operation not permitted"


def refusal(platform: Platform, command: CommandLine) -> list[str]:
    """The lines QEMU would print before it ends; empty when it would start.

    A free slot is not looked for here: see no_slot.
    """
    if command.security is None:
        return []
    if command.snp and not platform.sev_snp:
        return ["vm-type SEV-SNP not supported by KVM"]
    cbitpos = command.security.get("cbitpos")
    if cbitpos != platform.cbitpos:
        return [
            f"sev_kvm_init: cbitpos check failed, host '{platform.cbitpos}' "
            f"requested '{cbitpos}'",
            _KVM_FAILED,
        ]
    reduced = command.security.get("reduced-phys-bits", 0)
    if reduced < 1:
        return [
            "sev_kvm_init: reduced_phys_bits check failed, it should be >=1, "
            f"requested '{reduced}'",
            _KVM_FAILED,
        ]
    on = platform.sev_snp or platform.sev_es if command.es else platform.sev
    if not command.snp and not on:
        return _init_failed(ENOTTY)
    obstacle = device.obstacle(platform)
    if obstacle:
        return [f"sev_kvm_init: {obstacle}", _KVM_FAILED]
    if not slots.asids(platform, slots.pool(command)):
        return _init_failed(ENOTTY)
    unfit = _unfit_guest(command)
    if unfit:
        return unfit
    # The firmware is pinned as well, so the memory alone is too little. SNP pins none.
    if not command.snp and _lock_limit(platform) <= command.memory:
        return [
            f"sev_ram_block_added: failed to register region (0x7f0000000000+"
            f"{command.memory:#x}) error 'Cannot allocate memory'"
        ]
    return _unmeasured_kernel(command)


def _unmeasured_kernel(command: CommandLine) -> list[str]:
    if not command.kernel_hashes:
        return []
    with open(command.firmware, "rb") as file:
        obstacle = guest_firmware.hashes_obstacle(file.read())
    return [f"SEV: {obstacle}"] if obstacle else []


def _unfit_guest(command: CommandLine) -> list[str]:
    if command.snp and not command.policy & _ALWAYS_ONE:
        return [
            f"sev_snp_launch_start: SNP_LAUNCH_START ret=-{EINVAL} fw_error=0 ''",
            _KVM_FAILED,
        ]
    if command.virtiofs:
        # QEMU sets iommu_platform on each virtio device of an encrypted guest.
        return [
            "-device vhost-user-fs-pci: iommu_platform=true is not supported by the "
            "device"
        ]
    if command.snp and command.pflash:
        return ["pflash with kvm requires KVM readonly memory support"]
    return []


def no_slot() -> list[str]:
    """What QEMU prints when every ASID of the pool is taken."""
    return _init_failed(EBUSY)


def _lock_limit(platform: Platform) -> float:
    """The memory that we may lock, in bytes.

    Where libvirt may not raise the limit, cpuid_shim.c notes what it wanted.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    note = os.path.join(platform.monitors, f"memlock-{os.getpid()}")
    try:
        with open(note, encoding="ascii") as file:
            limit = int(file.read())
        os.unlink(note)
    except FileNotFoundError:
        pass
    return float("inf") if limit in (resource.RLIM_INFINITY, _UNLIMITED) else limit


def _init_failed(errno: int) -> list[str]:
    return [
        f"sev_kvm_init: failed to initialize ret=-{errno} fw_error=0 ''",
        _KVM_FAILED,
    ]
