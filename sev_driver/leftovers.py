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

"""Guests that Nova could not build, and could not end, with libvirt gone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import task_states
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

#: Of a server that has never run, so that no move brings it back here.
_IN_A_BUILD = (
    task_states.SCHEDULING,
    task_states.NETWORKING,
    task_states.BLOCK_DEVICE_MAPPING,
    task_states.SPAWNING,
)


class Leftovers:
    """Ends such guests once libvirt is back.

    When libvirtd dies while a guest starts, its QEMU may run though Nova is told that
    it failed. Nova then asks a libvirt that is gone to end it, gives up, and has the
    server built elsewhere: the guest would run twice, and hold a key here for nobody.

    :param end: ends a guest's domain if there is one, and nothing else of it.
    """

    def __init__(self, end: Callable[[objects.Instance], None]) -> None:
        self._end = end
        self._noted: dict[str, objects.Instance] = {}

    @contextlib.contextmanager
    def noted(self, instance: objects.Instance) -> Iterator[None]:
        """Remember ``instance`` if its build in the body fails, for whatever reason."""
        if instance.uuid in self._noted:
            self._end(instance)
            self._noted.pop(instance.uuid, None)
        try:
            yield
        except Exception:
            self._noted[instance.uuid] = instance
            raise

    def sweep(self, hostname: str) -> None:
        """End those that are left, unless Nova has them on ``hostname``.

        Never raises: what cannot be ended now is tried again.
        """
        for uuid, instance in list(self._noted.items()):
            try:
                if self._is_settled(instance, hostname):
                    self._noted.pop(uuid, None)
            except Exception as error:
                LOG.warning(
                    "What is left of a build that failed cannot be ended yet: %s",
                    error,
                    instance=instance,
                )

    def _is_settled(self, instance: objects.Instance, hostname: str) -> bool:
        known = _in_database(instance.uuid)
        if known is None:
            self._end(instance)
            return True
        here = known.host == hostname
        if known.task_state and (here or known.task_state not in _IN_A_BUILD):
            # Nova is at it, here or on a move that may lead back to this host.
            return False
        if not here:
            self._end(instance)
        # Else Nova has it here, for its user to reboot or delete.
        return True


def _in_database(uuid: str) -> objects.Instance | None:
    """Return what Nova has of it now, None if it is deleted."""
    context = nova_context.get_admin_context()
    try:
        return objects.Instance.get_by_uuid(context, uuid, expected_attrs=[])
    except nova_exception.InstanceNotFound:
        return None
