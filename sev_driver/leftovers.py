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
import threading
from collections.abc import Iterator
from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import task_states
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

#: In which a guest is made anew, somewhere: none of them needs what is left here.
_IN_A_BUILD = (
    task_states.SCHEDULING,
    task_states.NETWORKING,
    task_states.BLOCK_DEVICE_MAPPING,
    task_states.SPAWNING,
)


class Leftovers:
    """Powers such guests off once libvirt is back.

    When libvirtd dies while a guest starts, its QEMU may run though Nova is told that
    it failed. Nova then asks a libvirt that is gone to end it, gives up, and has the
    server built elsewhere: the guest would run twice, and hold a key here for nobody.

    The domain stays defined. By that Nova finds what else there is of it here, its
    disks, ports and volumes, and removes all once the server is deleted.

    :param nova_host: Nova's libvirt Host.
    """

    def __init__(self, nova_host: Any) -> None:
        self._nova_host = nova_host
        self._noted: dict[str, objects.Instance] = {}
        #: A build may begin while the periodic task, in another thread, ends the last.
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def noted(self, instance: objects.Instance) -> Iterator[None]:
        """Remember ``instance`` if its build in the body fails, for whatever reason."""
        self._end(instance.uuid)
        try:
            yield
        except Exception:
            self._noted[instance.uuid] = instance
            raise

    def sweep(self, hostname: str) -> None:
        """Power off those that are left, unless Nova has them on ``hostname``.

        Never raises: what cannot be ended now is tried again.
        """
        for instance in list(self._noted.values()):
            try:
                self._settle(instance, hostname)
            except Exception as error:
                LOG.warning(
                    "What is left of a build that failed cannot be ended yet: %s",
                    error,
                    instance=instance,
                )

    def _settle(self, instance: objects.Instance, hostname: str) -> None:
        known = _in_database(instance.uuid)
        here = known is not None and known.host == hostname
        task = None if known is None else known.task_state
        if task and (here or task not in _IN_A_BUILD):
            # Nova is at it, here or on a move that may lead back to this host.
            return
        if here:
            # Nova has it here, for its user to reboot or delete.
            self._noted.pop(instance.uuid, None)
        else:
            self._end(instance.uuid, instance)

    def _end(self, uuid: str, expected: objects.Instance | None = None) -> None:
        """Power off what is noted of ``uuid``; only if it is ``expected``, if given."""
        with self._lock:
            noted = self._noted.get(uuid)
            if noted is None or (expected is not None and noted is not expected):
                return
            self._power_off(noted)
            del self._noted[uuid]

    def _power_off(self, instance: objects.Instance) -> None:
        try:
            guest = self._nova_host.get_guest(instance)
        except nova_exception.InstanceNotFound:
            return
        if guest.is_active():
            guest.poweroff()
            LOG.warning(
                "A build that failed had left this guest running; it is powered off.",
                instance=instance,
            )


def _in_database(uuid: str) -> objects.Instance | None:
    """Return what Nova has of it now, None if it is deleted."""
    context = nova_context.get_admin_context()
    try:
        return objects.Instance.get_by_uuid(context, uuid, expected_attrs=[])
    except nova_exception.InstanceNotFound:
        return None
