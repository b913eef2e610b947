# SPDX-License-Identifier: Apache-2.0

"""Write what was launched into the metadata of servers with SEV-SNP.

Their owners compare it with values of their own, see :mod:`sev_driver.guest.launched`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from nova import context as nova_context
from nova import objects
from nova.conf import CONF
from oslo_log import log as logging

from sev_driver import measurement
from sev_driver.compute.capability_tracker import CapabilityTracker
from sev_driver.compute.instance import is_unrescued, launch_inputs_for
from sev_driver.domain.launched_domain import LaunchedDomain
from sev_driver.exceptions import DetectionError, DomainXMLError
from sev_driver.guest import launched
from sev_driver.guest.requirements import GuestRequest, refuse
from sev_driver.host import guest_firmware
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.host.facts import HostFacts, version_text
from sev_driver.host.guest_cpu import GuestCpu, guest_cpu
from sev_driver.measurement import SNP_ACTIVE, LaunchFacts
from sev_driver.model import SEV_SNP

LOG = logging.getLogger(__name__)


class LaunchRecorder:
    """Records launches in the metadata of their servers.

    A failure here has no effect on the guest.

    :param nova_host: Nova's libvirt Host.
    :param tracker: the facts of this host.
    """

    def __init__(self, nova_host: Any, tracker: CapabilityTracker) -> None:
        self._nova_host = nova_host
        self._tracker = tracker

    def record(self, instance: objects.Instance, request: GuestRequest | None) -> None:
        """Write what was launched, after a guest has been started.

        Nova saves the metadata with the rest of the instance. For a guest that is not
        encrypted, nothing is done.
        """
        if request is None:
            return
        try:
            if request.model is not SEV_SNP or not CONF.sev.tell_launch:
                forget(instance)
                return
            found = self._observe(instance)
            if found is None:
                return
            # Started with the host: Nova saves nothing after it.
            is_alone = instance.task_state is None
            written = _stored_metadata(instance) if is_alone else instance.metadata
            instance.metadata = {**launched.without(written), **found}
            if is_alone:
                instance.save()
        except Exception:
            LOG.warning(
                "Cannot write what was launched into the server's metadata.",
                exc_info=True,
                instance=instance,
            )

    def _observe(self, instance: objects.Instance) -> dict[str, str] | None:
        """Return the items of the metadata, None if the guest does not run."""
        try:
            guest = self._nova_host.get_guest(instance)
            if not guest.is_active():
                return None
            domain = LaunchedDomain.parse(guest.get_xml_desc())
            host = self._tracker.facts()
        except Exception as error:
            LOG.warning("Cannot read the domain: %s", error, instance=instance)
            unknown = launched.unknown("the guest's domain cannot be read")
            return launched.as_metadata(dict.fromkeys(launched.FACTS, unknown))
        return launched.as_metadata(facts(domain, host))


def _stored_metadata(instance: objects.Instance) -> dict[str, str]:
    """Return the metadata as stored now.

    nova-compute has read those of all its servers before it started the first of them.
    Saving replaces all metadata, also what a user has set since then.
    """
    context = nova_context.get_admin_context()
    stored = objects.Instance.get_by_uuid(
        context, instance.uuid, expected_attrs=["metadata"]
    )
    return dict(stored.metadata)


def check_id_block(
    instance: objects.Instance, xml: str, tracker: CapabilityTracker
) -> None:
    """Refuse a guest whose ID block is for another launch digest than this host's.

    If this host cannot compute the digest, only the secure processor compares it.

    :param xml: the domain, before it is started.
    :raises RequirementsNotMet: the digests differ.
    """
    signed = launch_inputs_for(instance).signed
    if signed is None or is_unrescued(instance):
        return
    try:
        digest = expected_digest(xml, tracker.facts())
    except (DetectionError, DomainXMLError) as error:
        LOG.info(
            "Only the secure processor will compare the ID block with what is "
            "launched: %s",
            error,
            instance=instance,
        )
        return
    refuse(signed.digest_violations(digest))


def forget(instance: objects.Instance) -> None:
    """Remove what was written about a launch that was not the last one."""
    written = instance.metadata if "metadata" in instance else {}
    kept = launched.without(written)
    if len(kept) != len(written):
        instance.metadata = kept


def facts(domain: LaunchedDomain, host: HostFacts) -> dict[str, str]:
    """Return the facts of a launch by name, see :data:`launched.FACTS`.

    :param domain: the domain as it runs.
    """
    kernel, initrd, cmdline = _measured(domain)
    return {
        "digest": _known(lambda: launch_digest(domain, host)),
        "firmware": _known(lambda: measurement.file_digest(_firmware(domain))),
        "firmware_path": _known(lambda: _firmware(domain)),
        "vcpus": str(domain.vcpus),
        "cpu": _known(lambda: str(_cpu(domain, host))),
        "features": f"{SNP_ACTIVE:#x}",
        "policy": f"{domain.policy:#010x}",
        "kernel": _file(kernel),
        "initrd": _file(initrd),
        "cmdline": measurement.cmdline_digest(cmdline) if kernel else launched.NONE,
        "by": _programs(host),
    }


def expected_digest(xml: str, host: HostFacts) -> str:
    """Return the launch digest of a domain that this host is to start.

    :raises DetectionError: it is unknown.
    :raises DomainXMLError: ``xml`` is not a domain with SEV-SNP.
    """
    return next_digest(LaunchedDomain.parse(xml), host)


def next_digest(domain: LaunchedDomain, host: HostFacts) -> str:
    """Return the launch digest of a domain if this host starts it as it is.

    :raises DetectionError: it is unknown.
    """
    if domain.firmware is None:
        domain = dataclasses.replace(domain, firmware=selected_firmware(host))
    return launch_digest(domain, host)


def snp_firmware(tracker: CapabilityTracker, host: HostCapabilities) -> str | None:
    """Return the SHA-256 of the guest firmware for SEV-SNP.

    :return: None if it is unknown, or if the host does not support SEV-SNP.
    """
    if not host[SEV_SNP].supported:
        return None
    try:
        return measurement.file_digest(selected_firmware(tracker.facts()))
    except DetectionError:
        return None


def selected_firmware(host: HostFacts) -> str:
    """Return the file of the guest firmware that libvirt selects for SEV-SNP.

    :raises DetectionError: it is unknown.
    """
    loaders = host.domain.loaders if host.domain else None
    found = guest_firmware.select(host.firmware, SEV_SNP, loaders=loaders)
    if found is None:
        raise DetectionError("it is unknown which guest firmware libvirt selects")
    return found.filename


def launch_digest(domain: LaunchedDomain, host: HostFacts) -> str:
    """Return the launch digest of a domain on this host.

    :raises DetectionError: it is unknown.
    """
    return measurement.launch_digest(
        LaunchFacts(
            _firmware(domain),
            domain.vcpus,
            _cpu(domain, host).signature,
            SNP_ACTIVE,
            *_measured(domain),
        )
    )


def _measured(domain: LaunchedDomain) -> tuple[str | None, str | None, str]:
    """Return kernel, initrd and command line, as far as they are measured."""
    if not domain.measures_kernel:
        return None, None, ""
    return domain.kernel, domain.initrd, domain.cmdline


def _known(read: Callable[[], str]) -> str:
    try:
        return read()
    except DetectionError as error:
        return launched.unknown(error)


def _file(path: str | None) -> str:
    if path is None:
        return launched.NONE
    return _known(functools.partial(measurement.file_digest, path))


def _firmware(domain: LaunchedDomain) -> str:
    if domain.firmware is None:
        raise DetectionError("the domain names no firmware")
    return domain.firmware


def _cpu(domain: LaunchedDomain, host: HostFacts) -> GuestCpu:
    capabilities = host.domain
    return guest_cpu(
        domain.cpu_mode,
        domain.cpu_model,
        capabilities.host_model if capabilities else None,
        host.system.processor,
    )


def _programs(host: HostFacts) -> str:
    versions = (("QEMU", host.versions.qemu), ("libvirt", host.versions.libvirt))
    found = [f"{name} {version_text(version)}" for name, version in versions if version]
    return " ".join(found) or launched.unknown("libvirt does not report its version")
