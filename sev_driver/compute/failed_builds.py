# SPDX-License-Identifier: Apache-2.0

"""Power off guests that a failed build left running."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import task_states
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

#: Task states of a build, on any host. It does not need the guest that is left here.
_IN_A_BUILD = (
    task_states.SCHEDULING,
    task_states.NETWORKING,
    task_states.BLOCK_DEVICE_MAPPING,
    task_states.SPAWNING,
)


@dataclasses.dataclass(frozen=True)
class _FailedBuild:
    """A failed build. The lock is needed because a new build may start meanwhile."""

    instance: objects.Instance
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class FailedBuilds:
    """The failed builds of this host, whose guests may still run.

    If libvirtd ends while a guest starts, the call fails, but QEMU may continue to run.
    Nova cannot stop the guest without libvirtd, and builds the server on another host:
    the guest would run twice, and keep a slot on this host.

    The domain stays defined. Nova needs it to find and remove the guest's disks, ports
    and volumes here when the server is deleted.

    :param nova_host: Nova's libvirt Host.
    """

    def __init__(self, nova_host: Any) -> None:
        self._nova_host = nova_host
        self._builds: dict[str, _FailedBuild] = {}

    @contextlib.contextmanager
    def track(self, instance: objects.Instance) -> Iterator[None]:
        """Keep track of ``instance`` if its build in the body fails."""
        self._end(instance.uuid)
        try:
            yield
        except Exception:
            self._builds[instance.uuid] = _FailedBuild(instance)
            raise

    def power_off_stale(self, hostname: str) -> None:
        """Power off the guests of failed builds that Nova does not have on this host.

        Never raises: the next call tries again.

        :param hostname: Nova's name of this host.
        """
        for build in list(self._builds.values()):
            try:
                self._settle(build, hostname)
            except Exception as error:
                LOG.warning(
                    "Cannot power off the guest of a failed build, will retry: %s",
                    error,
                    instance=build.instance,
                )

    def _settle(self, build: _FailedBuild, hostname: str) -> None:
        uuid = build.instance.uuid
        known = _in_database(uuid)
        here = known is not None and known.host == hostname
        task = None if known is None else known.task_state
        if task and (here or task not in _IN_A_BUILD):
            # An operation is in progress, here or in a move back to this host.
            return
        if here:
            # The server is on this host; its user can reboot or delete it.
            self._builds.pop(uuid, None)
        else:
            self._end(uuid, build)

    def _end(self, uuid: str, expected: _FailedBuild | None = None) -> None:
        """Power off the guest of a failed build.

        :param expected: the build; a later one of the same server is left alone.
        """
        build = self._builds.get(uuid)
        if build is None or (expected is not None and build is not expected):
            return
        # A lock for each build, so that builds of other servers need not wait.
        with build.lock:
            if self._builds.get(uuid) is build:
                self._power_off(build.instance)
                del self._builds[uuid]

    def _power_off(self, instance: objects.Instance) -> None:
        try:
            guest = self._nova_host.get_guest(instance)
        except nova_exception.InstanceNotFound:
            return
        if guest.is_active():
            guest.poweroff()
            LOG.warning(
                "Powered off a guest that a failed build had left running.",
                instance=instance,
            )


def _in_database(uuid: str) -> objects.Instance | None:
    """Return the instance from Nova's database, None if it is deleted."""
    context = nova_context.get_admin_context()
    try:
        return objects.Instance.get_by_uuid(context, uuid, expected_attrs=[])
    except nova_exception.InstanceNotFound:
        return None
