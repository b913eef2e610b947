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

"""nova-compute's look at its guests when it starts: can they be started, too?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nova import exception as nova_exception
from nova import objects
from nova.conf import CONF
from oslo_log import log as logging

from sev_driver import guest_request, requirements
from sev_driver.capabilities import HostCapabilities

LOG = logging.getLogger(__name__)


Instances = list[objects.Instance]


def judge(
    instances: Iterable[objects.Instance],
    host: HostCapabilities,
    nova_judges: Callable[[Instances], None],
) -> None:
    """Say which guests could not be started.

    :param nova_judges: Nova's own verdict, on guests whose model is its matter.
    :raises nova.exception.InvalidConfiguration: a guest could not be started by
        this host's fault, and ``[sev] require_support_at_start`` is set.
    """
    novas: Instances = []
    lost: list[tuple[objects.Instance, requirements.Violation]] = []
    for instance in instances:
        request = None if instance.deleted else guest_request.of(instance)
        if request is None:
            novas.append(instance)
            continue
        for violation in requirements.check(request, host):
            LOG.error("It will not be started. %s", violation, instance=instance)
            if violation.requirement is requirements.Requirement.HOST:
                lost.append((instance, violation))
    if not CONF.sev.require_support_at_start:
        lost.clear()
    # Of those that are lost Nova may know, and then says so in words of its own.
    nova_judges(novas + [instance for instance, _ in lost])
    if lost:
        instance, violation = lost[0]
        raise nova_exception.InvalidConfiguration(
            f"Server {instance.uuid}: {violation} Or unset [sev] "
            f"require_support_at_start."
        )
