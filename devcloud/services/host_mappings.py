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
