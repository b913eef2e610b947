# SPDX-License-Identifier: Apache-2.0

"""Restore the flavor for Nova's scheduler after a resize that the driver refused.

nova-conductor stores the new flavor in the server's request specification as soon as it
has asked the new host (27 to 34). If the resize is refused after that, Nova leaves it
there: an evacuation then asks for the new flavor's resources, such as an encryption
slot for a plain server.
"""

from __future__ import annotations

from typing import Any

from nova import objects
from nova.virt import hardware
from oslo_log import log as logging

LOG = logging.getLogger(__name__)


def restore_requested_flavor(context: Any, instance: objects.Instance) -> None:
    """Restore the flavor of ``instance`` in its request specification; never raise.

    Nova's conductor does this work: it has the API database.
    """
    try:
        spec = objects.RequestSpec.get_by_instance_uuid(context, instance.uuid)
        if spec.flavor.flavorid == instance.flavor.flavorid:
            return
        spec.flavor = instance.flavor
        # As Nova's API sets it for a resize.
        spec.numa_topology = hardware.numa_get_constraints(
            instance.flavor, instance.image_meta
        )
        spec.save()
    except Exception as error:
        LOG.warning(
            "The resize was refused, but Nova's scheduler still uses the new flavor: "
            "%s. Do not evacuate the server until it has been resized or migrated.",
            error,
            instance=instance,
        )
