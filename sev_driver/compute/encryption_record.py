# SPDX-License-Identifier: Apache-2.0

"""Record with each encrypted server its model, and the host where it was last defined.

A server can lose its request, or ask for a weaker model: nova-conductor refuses a
rebuild, and Nova keeps the new image's properties. The guest's domain then shows how it
was encrypted. If there is no domain, as in an evacuation, only this record does. Plain
servers have no record.

The record is in Nova's system_metadata, which users cannot change, and of which Nova
(27 to 34) only replaces the properties of the image. It is out of date if another
driver has rebuilt or resized the server on another host; so it names its host.
"""

from __future__ import annotations

from nova import exception as nova_exception
from nova import objects
from nova.compute import vm_states
from oslo_log import log as logging

from sev_driver.compute import instance as guest_request
from sev_driver.compute.verdict import ExistingDomain
from sev_driver.exceptions import Violation
from sev_driver.guest import requirements
from sev_driver.model import AnyModel, ForeignModel, MemoryEncryptionModel, is_weaker

LOG = logging.getLogger(__name__)

#: Two keys, because a host name alone can have the 255 characters of a value.
_MODEL = "sev_driver_model"
_HOST = "sev_driver_host"

_SHELVED = frozenset((vm_states.SHELVED, vm_states.SHELVED_OFFLOADED))


def last_model(instance: objects.Instance) -> AnyModel | None:
    """Return the model that ``instance`` was encrypted with on its last host.

    :return: None if it was not encrypted there, or if that is unknown.
    """
    found = instance.system_metadata
    if _MODEL not in found or found.get(_HOST) != _last_host(instance):
        return None
    return _model(found[_MODEL])


def check_request(
    instance: objects.Instance, flavor: objects.Flavor, domain: ExistingDomain | None
) -> tuple[Violation, ...]:
    """Return a violation if a guest would be protected less than it is.

    Its server no longer asks for the guest's model, and neither a resize nor a rebuild
    changed that. A stronger model is allowed: stock Nova may have started the guest
    with less than it asks for, and the slot is checked anyway.

    :param flavor: the flavor that the guest will have.
    :param domain: the guest's domain before the operation, None if it has none here.
    """
    model = last_model(instance) if domain is None else domain.any_model
    if model is None:
        return ()
    now = guest_request.asked_model(instance, flavor)
    if not is_weaker(now, model):
        return ()
    # A resize changes the model from that of the flavor which the guest has, or had
    # until it was moved.
    before = [old for old in (instance.flavor, instance.old_flavor) if old is not None]
    if all(
        is_weaker(guest_request.asked_model(instance, old), model) for old in before
    ):
        return (requirements.lost_request(model, now),)
    return ()


def is_outdated(instance: objects.Instance, hostname: str) -> bool:
    """Return whether the record is not the one of a guest that was defined here.

    :param hostname: this host.
    """
    return _differs(instance, _record(instance, hostname))


def renew(instance: objects.Instance, hostname: str) -> bool:
    """Record the model that ``instance`` asks for now; return whether that is a change.

    Nova saves the record with the rest of the instance.

    :param hostname: this host, where the guest's domain has been defined.
    """
    record = _record(instance, hostname)
    if not _differs(instance, record):
        return False
    for key, value in record.items():
        if value is None:
            instance.system_metadata.pop(key, None)
        else:
            instance.system_metadata[key] = value
    return True


def save(instance: objects.Instance) -> None:
    """Save a renewed record, unless an operation on the server has begun.

    Nova saves all of the system_metadata: an operation may just have changed it. Never
    raises, because the guest runs.
    """
    try:
        instance.save(expected_task_state=[None])
    except (
        nova_exception.InstanceNotFound,
        nova_exception.UnexpectedTaskStateError,
    ) as error:
        LOG.debug("The record is not saved: %s", error, instance=instance)
    except Exception:
        warn(instance)


def warn(instance: objects.Instance) -> None:
    """Log that the record could not be renewed."""
    LOG.warning(
        "Cannot record the guest's encryption with the server.",
        exc_info=True,
        instance=instance,
    )


def _differs(instance: objects.Instance, record: dict[str, str | None]) -> bool:
    found = instance.system_metadata
    return any(found.get(key) != value for key, value in record.items())


def _record(instance: objects.Instance, hostname: str) -> dict[str, str | None]:
    model = guest_request.asked_model(instance)
    if model is None:
        return {_MODEL: None, _HOST: None}
    return {_MODEL: model.value, _HOST: hostname}


def _last_host(instance: objects.Instance) -> str | None:
    """Return the host where the guest was last: its own, until it has a new one."""
    host: str | None = instance.host
    if instance.vm_state in _SHELVED:
        host = instance.system_metadata.get("shelved_host")
    return host


def _model(value: str) -> AnyModel:
    for kind in (MemoryEncryptionModel, ForeignModel):
        if value in [each.value for each in kind]:
            return kind(value)
    # A later sev_driver wrote it. The guest was encrypted, that is what counts.
    return MemoryEncryptionModel.AMD_SEV
