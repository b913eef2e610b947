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
"""Says so in the log when a user takes a guest's encryption away."""

from __future__ import annotations

from typing import Any

from nova import exception as nova_exception
from nova import objects
from nova.compute import task_states
from oslo_log import log as logging

from sev_driver import domain_xml, guest_request
from sev_driver.exceptions import DomainXMLError

LOG = logging.getLogger(__name__)


def note_resize(instance: objects.Instance) -> bool:
    """Call it on the new host, when ``instance`` has its new flavor.

    Returns whether the resize takes its encryption away.
    """
    old = instance.old_flavor
    if old is None or guest_request.of(instance) is not None:
        return False
    if guest_request.with_flavor(old, instance) is None:
        return False
    LOG.warning(
        "The resize from flavor %s to %s has taken the memory encryption away: "
        "the guest runs in the clear from now on.",
        old.name,
        instance.flavor.name,
        instance=instance,
    )
    return True


def note_rebuild(host: Any, instance: objects.Instance) -> None:
    """Call it before the old domain is destroyed.

    The instance has its new image by then; only the domain remembers.
    """
    if instance.task_state != task_states.REBUILDING:
        return
    if guest_request.of(instance) is None and _is_encrypted(host, instance):
        LOG.warning(
            "The rebuild from image %s takes the memory encryption away: the guest "
            "runs in the clear from now on.",
            instance.image_ref,
            instance=instance,
        )


def _is_encrypted(host: Any, instance: objects.Instance) -> bool:
    try:
        domain = domain_xml.parse(host.get_guest(instance).get_xml_desc())
    except (nova_exception.InstanceNotFound, DomainXMLError):
        return False
    return domain.find("launchSecurity") is not None
