# SPDX-License-Identifier: Apache-2.0

"""Predict the launch digest of a guest's next launch, before the guest is stopped.

Nova stops a guest before it creates the new domain. So an ID block for another digest
must be found before: afterwards, a refusal leaves the server without a guest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from nova import objects
from nova.conf import CONF
from nova.virt.libvirt import driver as libvirt_driver

from sev_driver.compute import doors, launch_facts
from sev_driver.compute import instance as guest_request
from sev_driver.compute.capability_tracker import CapabilityTracker
from sev_driver.compute.doors import Door
from sev_driver.compute.verdict import (
    ExistingDomain,
    NextLaunch,
    Observed,
    check_digest,
)
from sev_driver.domain.launched_domain import LaunchedDomain
from sev_driver.exceptions import DetectionError, DomainXMLError
from sev_driver.guest.requirements import refuse
from sev_driver.host.facts import HostFacts
from sev_driver.host.guest_cpu import guest_cpu

#: Not SPAWN and what follows a move: on that host, no guest has run that could be lost.
_DOORS = frozenset((doors.HARD_REBOOT, doors.REBUILD, doors.MIGRATE))
#: What differs in a rescue.
RESCUE: Final = "a rescue system has another kernel or command line"


def check_rescue(
    instance: objects.Instance,
    tracker: CapabilityTracker,
    find_domain: Callable[[objects.Instance], ExistingDomain | None],
) -> None:
    """Refuse a rescue for which the ID block is not, while the guest runs.

    :raises RequirementsNotMet: it is so.
    """
    inputs = guest_request.launch_inputs_for(instance)
    if inputs.signed is None:
        return
    known = _same(find_domain(instance), tracker)
    if known is None:
        return
    domain, same = known
    if domain.measures_kernel or CONF.libvirt.rescue_kernel_id:
        launch = NextLaunch(same=same, other=other_kernel(domain))
    else:
        launch = NextLaunch(digest=same)
    refuse(check_digest(inputs, launch))


def observe(
    door: Door,
    instance: objects.Instance,
    given: Mapping[str, Any],
    tracker: CapabilityTracker,
    seen: Observed,
) -> Observed:
    """Return the facts with what is known of the next launch of a guest.

    Of a guest without an ID block, nothing is asked.

    :param given: the arguments of Nova's call, by name.
    """
    if seen.inputs.signed is None or door not in _DOORS:
        return seen
    existing = seen.domain
    known = _same(existing, tracker)
    if known is None or existing is None:
        return seen
    domain, same = known
    if door is doors.MIGRATE:
        # What the new host would launch is known there only.
        other = other_vcpus(domain, given["flavor"])
        following = NextLaunch(same=same, other=other)
    elif _keeps_kernel(instance, domain, existing):
        following = NextLaunch(digest=same)
    else:
        return seen
    return dataclasses.replace(seen, launch=following)


def _same(
    existing: ExistingDomain | None, tracker: CapabilityTracker
) -> tuple[LaunchedDomain, str] | None:
    """Return a domain and the digest with which it would now start as it is.

    :return: None if that is unknown.
    """
    if existing is None:
        return None
    try:
        domain = LaunchedDomain.of(existing.root)
        host = tracker.facts()
        if not _is_kept(domain, host):
            return None
        return domain, launch_facts.next_digest(domain, host)
    except (DetectionError, DomainXMLError):
        return None


def _keeps_kernel(
    instance: objects.Instance, domain: LaunchedDomain, existing: ExistingDomain
) -> bool:
    """Return whether the next domain has the kernel of this one, or also has none.

    False if that is uncertain: the kernel of another image is not on this host yet.
    """
    if not guest_request.has_kernel(instance, rescues=False):
        return not domain.measures_kernel
    # Nova writes into each domain which image it is made of.
    image = existing.root.find("./metadata//{*}root[@type='image']")
    cmdline = instance.system_metadata.get("image_os_command_line", domain.cmdline)
    return (
        domain.measures_kernel
        and image is not None
        and image.get("uuid") == instance.image_ref
        and cmdline == domain.cmdline
    )


def _is_kept(domain: LaunchedDomain, host: HostFacts) -> bool:
    """Return whether the next domain has the guest firmware and the CPU of this one.

    False if that is uncertain, as after a change of nova.conf.
    """
    if domain.firmware not in (None, launch_facts.selected_firmware(host)):
        return False
    options: Any = CONF.libvirt
    mode = options.cpu_mode or "host-model"
    if mode == "custom" and len(options.cpu_models) != 1:
        return False
    model = options.cpu_models[0] if mode == "custom" else None
    host_model = host.domain.host_model if host.domain else None
    following = guest_cpu(mode, model, host_model, host.system.processor)
    now = guest_cpu(
        domain.cpu_mode, domain.cpu_model, host_model, host.system.processor
    )
    return following.signature == now.signature


def other_vcpus(domain: LaunchedDomain, flavor: objects.Flavor) -> str:
    """Return what differs with a flavor. The result is empty if nothing does."""
    if flavor.vcpus == domain.vcpus:
        return ""
    return f"flavor {flavor.name} has {flavor.vcpus} vCPUs instead of {domain.vcpus}"


def other_kernel(domain: LaunchedDomain) -> str:
    """Return what differs in a rescue: Nova gives the kernel its own command line.

    The result is empty if nothing may differ.
    """
    is_novas = domain.cmdline.startswith("root=/dev/")
    if is_novas and libvirt_driver.CONSOLE in domain.cmdline:
        return "" if not CONF.libvirt.rescue_kernel_id else RESCUE
    return RESCUE
