# SPDX-License-Identifier: Apache-2.0

"""Check at startup whether the host supports its encrypted guests."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nova import exception as nova_exception
from nova import objects
from nova.conf import CONF
from oslo_log import log as logging

from sev_driver import exceptions
from sev_driver.compute import instance as guest_request
from sev_driver.compute import nova_compat
from sev_driver.compute.foreign_guests import ForeignGuests
from sev_driver.compute.verdict import is_known_boot_bus
from sev_driver.conf import stock_nova
from sev_driver.guest import requirements
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.model import HOST_TRAIT

LOG = logging.getLogger(__name__)


Instances = list[objects.Instance]


def check_instances(
    instances: Iterable[objects.Instance],
    host: HostCapabilities,
    foreign: ForeignGuests,
    nova_check: Callable[[Instances], None],
) -> None:
    """Log the guests that cannot be started.

    Nova's own check ends nova-compute if there is such a guest. Any user could cause
    that with a rebuild from an image that asks for a model that this host lacks.

    :param foreign: the checks of guests with a model of another vendor.
    :param nova_check: Nova's own check. It is only called with
        ``[sev] require_support_at_start``, for guests that cannot be started.
    :raises nova.exception.InvalidConfiguration: this host does not support a guest's
        model, and ``[sev] require_support_at_start`` is set.
    """
    lost: list[tuple[objects.Instance, exceptions.Violation]] = []
    for instance in instances:
        for violation in _report(instance, host, foreign):
            if violation.requirement is exceptions.Requirement.HOST:
                lost.append((instance, violation))
    if not CONF.sev.require_support_at_start:
        return
    # If Nova detects the problem, its own error is raised.
    nova_check([instance for instance, _ in lost])
    if lost:
        instance, violation = lost[0]
        raise nova_exception.InvalidConfiguration(
            f"Server {instance.uuid}: {violation} Or unset [sev] "
            f"require_support_at_start."
        )


def report(hostname: str, host: HostCapabilities, foreign: ForeignGuests) -> None:
    """Log the guests on ``hostname`` that cannot be started; never raise.

    This is for Nova 33 and older, which does not pass its guests to the driver.
    """
    try:
        instances = guest_request.instances_on(hostname)
    except Exception:
        LOG.exception("Cannot determine which guests can be started.")
        return
    for instance in instances:
        _report(instance, host, foreign)


def _report(
    instance: objects.Instance, host: HostCapabilities, foreign: ForeignGuests
) -> tuple[exceptions.Violation, ...]:
    """Log and return the violations of ``instance``."""
    if not instance.deleted:
        _warn_of_stock_nova(instance)
    violations = _violations(instance, host, foreign)
    for violation in violations:
        if is_known_boot_bus(violation, guest_request.has_run(instance)):
            LOG.warning(
                "The guest may start only because it has run before: %s",
                violation,
                instance=instance,
            )
        else:
            LOG.error("The guest cannot be started. %s", violation, instance=instance)
    return violations


def warn_of_preparation() -> None:
    """Log a warning if the host is prepared for Nova's own driver."""
    if _preparation().stock_models is not None:
        LOG.warning(
            "This host is prepared for stock Nova ([sev] prepare_for_stock_nova): its "
            "resource provider has no trait %s, and no guest is built here that stock "
            "Nova would start in the clear. Change compute_driver next, or unset the "
            "option.",
            HOST_TRAIT,
        )


def _preparation() -> stock_nova.Preparation:
    return stock_nova.preparation(CONF, nova_compat.installed_release())


def _warn_of_stock_nova(instance: objects.Instance) -> None:
    """Log a warning if Nova's own driver would not start ``instance`` as requested."""
    if _preparation().stock_models is None:
        return
    try:
        request = guest_request.request_for(instance)
    except Exception:
        return  # _violations logs the error.
    if request is not None and request.on_stock_nova:
        LOG.warning(
            "Stock Nova would start this server %s: delete, resize or migrate it "
            "before you change compute_driver.",
            request.on_stock_nova,
            instance=instance,
        )


def _violations(
    instance: objects.Instance, host: HostCapabilities, foreign: ForeignGuests
) -> tuple[exceptions.Violation, ...]:
    """Return the violations of ``instance``; never raise.

    An instance that cannot be read must not keep nova-compute from starting.
    """
    if instance.deleted:
        return ()
    try:
        request = guest_request.request_for(instance)
        if request is None:
            return foreign.violations(instance)
        return requirements.check_request(request, host)
    except Exception:
        LOG.exception(
            "Cannot determine whether the guest can be started.", instance=instance
        )
        return ()
