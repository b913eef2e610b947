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

"""A look at running guests: is each that asked for encryption encrypted?"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import power_state
from nova.conf import CONF
from oslo_log import log as logging

from sev_driver import guard, guest_request
from sev_driver.exceptions import DomainXMLError, EncryptionLost

LOG = logging.getLogger(__name__)

_RUNNING = frozenset({power_state.RUNNING, power_state.PAUSED})


class Audit:
    """Counts and reports guests that run without the encryption they asked for.

    :param host: Nova's libvirt Host.
    :param stop: whether such a guest is also powered off.
    """

    def __init__(self, host: Any, stop: bool) -> None:
        self._host = host
        self._stop = stop
        self._last = float("-inf")
        #: Guests found in the clear since nova-compute started.
        self.failures = 0

    def due(self, interval: int) -> bool:
        """Tell whether ``interval`` seconds have passed; 0 means never."""
        return interval > 0 and time.monotonic() - self._last >= interval

    def run(self, hostname: str) -> None:
        """Look at all instances that Nova has on ``hostname``.

        Never raises: an audit that fails must not stop Nova's own task.
        """
        self._last = time.monotonic()
        try:
            instances = self._instances(hostname)
        except Exception:
            LOG.exception("Audit: no guest could be looked at.")
            return
        for instance in instances:
            # One that goes wrong hides none of the others.
            try:
                self._look_at(instance)
            except Exception:
                LOG.exception(
                    "Audit: whether a guest is encrypted cannot be told.",
                    instance=instance,
                )

    @staticmethod
    def _instances(hostname: str) -> Iterable[objects.Instance]:
        found: Iterable[objects.Instance] = objects.InstanceList.get_by_host(
            nova_context.get_admin_context(),
            hostname,
            expected_attrs=["flavor", "system_metadata"],
        )
        return found

    def _look_at(self, instance: objects.Instance) -> None:
        request = guest_request.of(instance)
        # In the middle of an action it may run by what it was before.
        if request is None or instance.task_state is not None:
            return
        try:
            guest = self._host.get_guest(instance)
            if guest.get_power_state(self._host) not in _RUNNING:
                return
            guard.check(request.model, guest.get_xml_desc(), CONF.sev.allow_debug)
        except nova_exception.InstanceNotFound:
            return
        except EncryptionLost as error:
            if error.in_the_clear:
                self._report(instance, guest, error)
                return
            LOG.error(
                "Audit: a guest runs with another encryption than it asked for. %s",
                error,
                instance=instance,
            )
        except DomainXMLError as error:
            words = "Audit: whether a guest is encrypted cannot be told. %s"
            LOG.error(words, error, instance=instance)

    def _report(
        self, instance: objects.Instance, guest: Any, error: EncryptionLost
    ) -> None:
        self.failures += 1
        LOG.error(
            "Audit: a guest runs in the clear that asked for encryption. %s",
            error,
            instance=instance,
        )
        if self._stop:
            LOG.error(
                "Audit: powering it off ([sev] stop_unencrypted_guests).",
                instance=instance,
            )
            guest.poweroff()
