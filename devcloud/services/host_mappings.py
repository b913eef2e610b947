# SPDX-License-Identifier: Apache-2.0

"""Lets the scheduler know the compute hosts now, not at its next look."""


def map_hosts() -> None:
    """Map every host that has none yet.

    The scheduler looks for new hosts by itself as well. Where it comes between,
    Nova raises of the host that it has just mapped: then there is one less to map.
    """
    from nova import context, exception
    from nova.objects import host_mapping

    while True:
        try:
            host_mapping.discover_hosts(context.get_admin_context())
        except exception.HostMappingExists:
            continue
        return
