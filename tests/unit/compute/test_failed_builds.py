# SPDX-License-Identifier: Apache-2.0

"""leftovers: what a failed build left running is powered off, and nothing else."""

import threading
from typing import Any

import pytest
from nova import exception as nova_exception
from nova import objects
from nova_instances import UUID, instance

from sev_driver.compute.failed_builds import FailedBuilds

HERE, ELSEWHERE = "node1", "node2"
Known = tuple[str | None, str | None] | None


class Host:
    """One where a build has failed; of what is powered off, the uuids are kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        #: Host and task of the server in Nova's database, None if it is deleted.
        self.known: Known = (None, None)
        self.reachable, self.defined, self.runs = True, True, True
        self.ended: list[str] = []
        self.leftovers = FailedBuilds(self)
        monkeypatch.setattr(objects.Instance, "get_by_uuid", self.get_by_uuid)
        self.fail_to_build()

    def fail_to_build(self) -> None:
        with pytest.raises(OSError), self.leftovers.track(instance()):
            self.runs = True
            raise OSError

    # As Nova's libvirt Host and a guest of it.

    def get_guest(self, guest: objects.Instance) -> "Host":
        if not self.reachable:
            raise nova_exception.HypervisorUnavailable()
        if not self.defined:
            raise nova_exception.InstanceNotFound(instance_id=guest.uuid)
        return self

    def is_active(self) -> bool:
        return self.runs

    def poweroff(self) -> None:
        self.runs = False
        self.ended.append(UUID)

    def get_by_uuid(self, _: object, uuid: str, **__: object) -> objects.Instance:
        if self.known is None:
            raise nova_exception.InstanceNotFound(instance_id=uuid)
        host, task_state = self.known
        return objects.Instance(uuid=uuid, host=host, task_state=task_state)

    def sweep(self) -> list[str]:
        self.leftovers.power_off_stale(HERE)
        return self.ended


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


@pytest.mark.parametrize(
    "known",
    [
        (None, None),
        (None, "scheduling"),
        (ELSEWHERE, None),
        (ELSEWHERE, "spawning"),
        None,
    ],
)
def test_it_is_ended_once_where_nova_has_it_elsewhere_or_not(
    host: Host, known: Known
) -> None:
    host.known = known
    assert host.sweep() == [UUID]
    assert host.sweep() == [UUID]


def test_it_is_tried_again_until_libvirt_is_back(host: Host) -> None:
    host.reachable = False
    assert host.sweep() == []
    host.reachable = True
    assert host.sweep() == [UUID]


def test_a_guest_that_nova_has_here_is_left_alone(host: Host) -> None:
    host.known = (HERE, None)
    assert host.sweep() == []
    # It has moved since, and is nobody's business here any more.
    host.known = (ELSEWHERE, None)
    assert host.sweep() == []


def test_nova_is_not_disturbed_while_it_is_at_it(host: Host) -> None:
    host.known = (HERE, "spawning")
    assert host.sweep() == []
    host.known = (ELSEWHERE, "resize_finish")  # perhaps to this host
    assert host.sweep() == []
    host.known = (None, None)
    assert host.sweep() == [UUID]


def test_another_build_on_this_host_starts_without_it(host: Host) -> None:
    with host.leftovers.track(instance()):
        assert host.ended == [UUID]
        host.runs = True
    assert host.sweep() == [UUID]


def test_a_build_that_begins_during_a_look_at_the_last_is_left_alone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = host.get_by_uuid

    def begin_another(*arguments: Any, **more: Any) -> objects.Instance:
        with host.leftovers.track(instance()):
            host.runs = True
        return look(*arguments, **more)

    monkeypatch.setattr(objects.Instance, "get_by_uuid", begin_another)
    host.sweep()
    assert host.runs


def test_of_two_builds_that_failed_the_later_is_not_forgotten(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = host.get_by_uuid

    def fail_again(*arguments: Any, **more: Any) -> objects.Instance:
        monkeypatch.setattr(objects.Instance, "get_by_uuid", look)
        host.fail_to_build()
        return look(*arguments, **more)

    monkeypatch.setattr(objects.Instance, "get_by_uuid", fail_again)
    host.sweep()
    host.sweep()
    assert not host.runs


@pytest.mark.parametrize("state", ["defined", "runs"])
def test_where_nothing_runs_there_is_nothing_to_end(host: Host, state: str) -> None:
    setattr(host, state, False)
    assert host.sweep() == []
    host.defined = host.runs = True
    assert host.sweep() == []


def test_a_build_that_went_well_leaves_nothing(host: Host) -> None:
    host.sweep()
    host.ended.clear()
    with host.leftovers.track(instance()):
        host.runs = True
    assert host.sweep() == []


def test_other_builds_do_not_wait_for_a_slow_end(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def end_slowly() -> None:
        begun.set()
        go_on.wait(30)
        host.runs = False

    monkeypatch.setattr(host, "poweroff", end_slowly)
    sweep = threading.Thread(target=host.sweep)
    sweep.start()
    assert begun.wait(30)
    other = instance()
    other.uuid = "99999999-2222-3333-4444-555555555555"

    def build() -> None:
        with host.leftovers.track(other):
            pass

    builder = threading.Thread(target=build)
    builder.start()
    builder.join(5)
    waits = builder.is_alive()
    go_on.set()
    sweep.join(30)
    builder.join(30)
    assert not waits
