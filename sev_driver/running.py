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


"""The encrypted guests that run on this host, whoever started them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_log import log as logging

from sev_driver import host, occupants, slot_messages
from sev_driver.exceptions import SevDriverError
from sev_driver.model import MemoryEncryptionModel

LOG = logging.getLogger(__name__)

#: A domain's uuid, and the number that libvirt gives it anew at each start.
Run = tuple[str, int]


class RunningGuests:
    """One call to libvirt a look; a domain's XML is read once in its run.

    A domain cannot be given another launchSecurity, nor lose it, while it runs.

    :param nova_host: Nova's libvirt Host.
    """

    def __init__(self, nova_host: Any) -> None:
        self._nova_host = nova_host
        self._known: dict[Run, MemoryEncryptionModel | None] = {}

    def look(self) -> Mapping[Run, MemoryEncryptionModel]:
        """Return the encrypted ones, with their models.

        :raises nova.exception.HypervisorUnavailable: libvirt does not answer.
        """
        now: dict[Run, MemoryEncryptionModel | None] = {}
        for domain in self._nova_host.list_instance_domains(only_running=True):
            # libvirt's client has both at hand: these are no calls.
            run = domain.UUIDString(), domain.ID()
            if run in self._known:
                now[run] = self._known[run]
            else:
                self._read(run, domain, now)
        self._known = now
        return {run: model for run, model in now.items() if model is not None}

    @staticmethod
    def _read(
        run: Run, domain: Any, into: dict[Run, MemoryEncryptionModel | None]
    ) -> None:
        """Learn of a domain that is new; what cannot be read is asked for again."""
        try:
            xml = host.read_xml(domain)
            if xml is not None:
                into[run] = occupants.model_of(xml)
        except SevDriverError as error:
            LOG.warning(slot_messages.unread_domain(run[0], error))
