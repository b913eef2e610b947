# SPDX-License-Identifier: Apache-2.0

"""Warn the operator and the user when a resize or rebuild removes the encryption."""

from __future__ import annotations

from typing import Any

from nova import objects
from nova.compute import task_states
from nova.compute import utils as compute_utils
from oslo_log import log as logging

from sev_driver.compute import instance as guest_request
from sev_driver.domain import xml

LOG = logging.getLogger(__name__)
#: What the user sees among the events of the resize or rebuild.
EVENT = "memory_encryption_removed"


def warn_if_resize_disables_encryption(instance: objects.Instance) -> bool:
    """Log a warning if a resize removes encryption; return whether it does.

    :param instance: the instance with its new flavor, on the new host.
    """
    old = instance.old_flavor
    if old is None or guest_request.request_for(instance) is not None:
        return False
    if guest_request.request_with_flavor(old, instance) is None:
        return False
    LOG.warning(
        "The resize from flavor %s to %s removes the memory encryption: the guest runs "
        "in the clear from now on.",
        old.name,
        instance.flavor.name,
        instance=instance,
    )
    return True


def warn_if_rebuild_disables_encryption(host: Any, instance: objects.Instance) -> bool:
    """Log a warning if a rebuild removes encryption; return whether it does.

    Call this before the old domain is destroyed: the instance already has its new
    image, so only the domain shows that it was encrypted.
    """
    if instance.task_state != task_states.REBUILDING:
        return False
    if guest_request.request_for(instance) is None and _is_encrypted(host, instance):
        LOG.warning(
            "The rebuild from image %s removes the memory encryption: the guest runs "
            "in the clear from now on.",
            instance.image_ref,
            instance=instance,
        )
        return True
    return False


def add_event(context: Any, instance: objects.Instance) -> None:
    """Add an event to the running resize or rebuild of a server.

    Nova shows faults of servers in ERROR only, and the request succeeds. Its events are
    all that ``openstack server event show`` has for the user of such a server.
    """
    try:
        with compute_utils.EventReporter(context, EVENT, instance.host, instance.uuid):
            pass
    except Exception as error:
        # A failure here must not prevent the resize or rebuild.
        LOG.debug("Cannot add an event: %s", error, instance=instance)


def _is_encrypted(host: Any, instance: objects.Instance) -> bool:
    try:
        domain = xml.parse(host.get_guest(instance).get_xml_desc())
    except Exception as error:
        # A failure here must not prevent the rebuild.
        LOG.debug("Cannot read the domain: %s", error, instance=instance)
        return False
    return domain.find("launchSecurity") is not None
