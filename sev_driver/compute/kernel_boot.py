# SPDX-License-Identifier: Apache-2.0

"""Which guest firmware a guest with a kernel of its image gets, and what it can do.

Nova from 33 on keeps the guest firmware of an existing domain; older releases select
the same one again for SEV. Otherwise libvirt selects one.
"""

from __future__ import annotations

from sev_driver.compute import nova_compat
from sev_driver.compute.verdict import ExistingDomain, KernelBoot
from sev_driver.exceptions import DetectionError
from sev_driver.guest.requirements import GuestRequest
from sev_driver.host import firmware_dirs, guest_firmware
from sev_driver.host.facts import HostFacts


def of(
    host: HostFacts, request: GuestRequest, domain: ExistingDomain | None
) -> KernelBoot:
    """Return the guest firmware of a guest whose kernel the host loads."""
    path = _kept(request, domain) or _selected(host, request)
    if path is None:
        return KernelBoot()
    try:
        measures = guest_firmware.read(path).measures_kernel(request.model)
    except (OSError, DetectionError):
        # For example, because libvirt runs in another container.
        return KernelBoot(path)
    return KernelBoot(path, measures)


def _kept(request: GuestRequest, domain: ExistingDomain | None) -> str | None:
    release = nova_compat.installed_release()
    if domain is None or domain.model is not request.model:
        return None
    if release.ignores_model_in_firmware_selection(request.model):
        return None
    return (domain.root.findtext("./os/loader") or "").strip() or None


def _selected(host: HostFacts, request: GuestRequest) -> str | None:
    release = nova_compat.installed_release()
    if release.selects_firmware and not release.ignores_model_in_firmware_selection(
        request.model
    ):
        return None  # Nova selects it, from a list of its own.
    found = guest_firmware.select(
        # A host without SEV-ES and SEV-SNP does not need it for its detection.
        host.firmware or firmware_dirs.read(),
        request.model,
        secure_boot=request.secure_boot is not None,
        stateless=request.firmware_stateless,
        loaders=host.domain.loaders if host.domain else None,
    )
    return None if found is None else found.filename
