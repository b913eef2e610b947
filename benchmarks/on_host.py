# SPDX-License-Identifier: Apache-2.0
"""Runs on the host of a cloud, in its namespaces: both drivers in one process.

``python -m benchmarks.on_host NOVA_CONF OUTPUT WORK``, WORK a dictionary in JSON:
by the name of a part below, what it is to be done with.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import sys
import time
import traceback
import types
from collections.abc import Callable
from typing import Any

from nova import monkey_patch

monkey_patch.patch(backend="threading")

import os_vif  # noqa: E402
from nova import config, objects  # noqa: E402
from nova import context as nova_context  # noqa: E402
from nova.compute import provider_tree  # noqa: E402
from nova.conf import CONF, neutron  # noqa: E402
from nova.scheduler import utils as scheduler_utils  # noqa: E402
from nova.scheduler.client import report  # noqa: E402
from nova.virt.libvirt.driver import LibvirtDriver  # noqa: E402

from benchmarks import guests, samples  # noqa: E402
from benchmarks.domains import TestDomains  # noqa: E402
from benchmarks.libvirt_calls import counted  # noqa: E402
from sev_driver.compute import admission  # noqa: E402
from sev_driver.compute.instance import request_for  # noqa: E402
from sev_driver.driver import SEVDriver  # noqa: E402
from sev_driver.placement import freshness  # noqa: E402
from sev_driver.placement.allocations import SLOT  # noqa: E402

CLASSES = {"stock": LibvirtDriver, "ours": SEVDriver}
NODE = "node1"
#: Seconds; nova-compute tells of its host every minute.
LONGEST_UPDATE = 180
#: As many of the running domains as have a slot of SEV, where any has.
ENCRYPTED = 100
#: Updates in an hour, and those before which Nova reads its tree again, by default.
UPDATES, REFRESHES = 60, 12
Values = dict[str, list[float]]


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def functions(work: Callable[[], Any]) -> int:
    """Return how many functions the work calls, Python's and C's.

    No busy machine disturbs that number.
    """
    count = 0

    def tell(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tell)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


class Gets:
    """Nova's client of Placement, whose questions are counted."""

    def __init__(self) -> None:
        self.client = report.report_client_singleton()
        self.count = 0
        get = self.client.get

        def counting(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return get(*args, **kwargs)

        self.client.get = counting


def driver(name: str, client: Any) -> Any:
    return CLASSES[name](types.SimpleNamespace(reportclient=client))


def started(client: Any) -> dict[str, Any]:
    """Both drivers, on this host."""
    drivers = {name: driver(name, client) for name in CLASSES}
    for each in drivers.values():
        each.init_host(NODE)
    return drivers


def guest_xml(
    encrypted: bool, sizes: dict[str, int], admitted: bool = False
) -> dict[str, Any]:
    """Seconds by the number of devices, libvirt's calls, and functions.

    :param admitted: whether the guest has been checked before, as in each operation.
    """
    drivers = started(report.report_client_singleton())
    times, calls, called = {}, {}, {}
    for size, rounds in sizes.items():
        guest = guests.make(encrypted, int(size))
        if admitted:
            request = request_for(guest.instance)
            assert request is not None
            admission._current.set(admission.Admitted(guest.instance.uuid, request))
        work = {name: _xml(guest, each) for name, each in drivers.items()}
        samples.interleave(work, 2)
        times[size] = samples.interleave(work, rounds)
        calls[size] = {name: _calls(each) for name, each in work.items()}
        called[size] = {name: functions(each) for name, each in work.items()}
    return {"seconds": times, "calls": calls, "functions": called}


def _xml(guest: guests.Guest, each: Any) -> Callable[[], float]:
    return lambda: timed(lambda: guest.xml(each))


def _calls(work: Callable[[], Any]) -> dict[str, int]:
    with counted() as calls:
        work()
    return dict(calls)


def start(rounds: int) -> dict[str, Any]:
    """Seconds of init_host, in a process of its own each, and libvirt's calls."""
    client = report.report_client_singleton()

    def init_host(name: str) -> Any:
        each = driver(name, client)
        return timed(lambda: each.init_host(NODE))

    def count(name: str) -> Any:
        each = driver(name, client)
        return _calls(lambda: each.init_host(NODE))

    work = {
        name: functools.partial(apart, functools.partial(init_host, name))
        for name in CLASSES
    }
    samples.interleave(work, 1)
    return {
        "seconds": samples.interleave(work, rounds),
        "calls": {name: apart(functools.partial(count, name)) for name in CLASSES},
    }


def update(sizes: dict[str, int]) -> dict[str, Any]:
    """By the number of running domains, seconds and calls.

    ``tree`` is update_provider_tree alone, ``encrypted`` the same with encrypted
    guests among those that run, and ``task`` all that the periodic task asks
    of the driver. Nothing changes from one update to the next.
    """
    gets = Gets()
    freshness.SETTLING = 0  # type: ignore[misc]
    tree = placements_tree(gets.client)
    drivers = started(gets.client)
    domains = TestDomains(os.environ["LIBVIRT_DEFAULT_URI"])
    for each in drivers.values():
        domains.show(each._host.get_connection())
    found: dict[str, Any] = {}
    for size, rounds in sizes.items():
        domains.start(int(size))
        parts = {"tree": False, "task": True}
        if int(size) == max(map(int, sizes)):
            # The last: from here on there are encrypted ones, too.
            parts |= {"encrypted": False, "encrypted task": True}
        for part, task in parts.items():
            if part == "encrypted":
                uuids = domains.start(int(size) + ENCRYPTED, encrypted=True)
                allocate(gets.client, tree, uuids)
            work = {name: _update(each, tree, task) for name, each in drivers.items()}
            samples.interleave(work, 2)
            values = samples.interleave(work, rounds)
            counts = {}
            for name, each in work.items():
                gets.count = 0
                counts[name] = {"libvirt": _calls(each), "placement": gets.count}
            called = {name: functions(each) for name, each in work.items()}
            found.setdefault(part, {})[size] = {
                "seconds": values,
                "calls": counts,
                "functions": called,
            }
    found["hour"] = {"nova": novas_own(gets), "driver": quiet_hour(gets, drivers, tree)}
    for uuid in uuids:
        gets.client.delete(f"/allocations/{uuid}")
    return found


def allocate(client: Any, tree: Any, uuids: list[str]) -> None:
    """Give each of the guests a slot of SEV in Placement, as its server's."""
    provider = tree.data(f"{NODE}_amd_sev").uuid
    for uuid in uuids:
        payload = {
            "allocations": {provider: {"resources": {SLOT: 1}}},
            "project_id": "project",
            "user_id": "user",
            "consumer_generation": None,
        }
        answer = client.put(f"/allocations/{uuid}", payload, version="1.28")
        if answer.status_code != 204:
            raise RuntimeError(f"Placement: {answer.text}")


def quiet_hour(gets: Gets, drivers: dict[str, Any], tree: Any) -> dict[str, int]:
    """Return the queries of each driver in an hour in which nothing changes."""
    counts = {}
    now = time.monotonic()
    drivers["ours"]._slots._known._clock = lambda: now
    for name, each in drivers.items():
        gets.count = 0
        for _ in range(UPDATES):
            now += 3600 / UPDATES
            each.update_provider_tree(tree, NODE)
        counts[name] = gets.count
    return counts


def novas_own(gets: Gets) -> int:
    """Return the queries of Nova itself in an hour, whatever the driver.

    With each update its resource tracker reads the allocations of the host's own
    provider; every five minutes its client of Placement reads the tree again.
    """
    gets.count = 0
    placements_tree(gets.client)
    return UPDATES + REFRESHES * gets.count


def placements_tree(client: Any) -> Any:
    """Placement's, as soon as it has the slots.

    Where SEV was off just now, the host's nova-compute tells of it anew with its next
    update. What it has not told of, a driver here would make up by itself, and then
    ask Placement who holds it.
    """
    context = nova_context.get_admin_context()
    uuid = objects.ComputeNode.get_by_nodename(context, NODE).uuid
    deadline = time.monotonic() + LONGEST_UPDATE
    while True:
        client.clear_provider_cache()
        tree = client.get_provider_tree_and_ensure_root(context, uuid, name=NODE)
        if len(tree.get_provider_uuids(NODE)) > 1:
            return tree
        if time.monotonic() > deadline:
            raise TimeoutError(f"no slots in Placement after {LONGEST_UPDATE} s")
        time.sleep(0.5)


def _update(each: Any, tree: Any, task: bool) -> Callable[[], float]:
    def work() -> None:
        if task:
            each.get_available_resource(NODE)
        each.update_provider_tree(tree, NODE)

    return lambda: timed(work)


def trees() -> dict[str, Any]:
    """The providers of a host that each driver makes, and what a scheduler asks."""
    found: dict[str, Any] = {}
    for name, each in started(report.report_client_singleton()).items():
        tree = provider_tree.ProviderTree()
        tree.new_root(NODE, _uuid())
        each.update_provider_tree(tree, NODE)
        names = tree.get_provider_uuids(NODE)
        found[name] = [_provider(tree, tree.data(uuid)) for uuid in names]
    queries = {
        case: _query(guests.make(encrypted, 0))
        for case, encrypted in (("plain", False), ("encrypted", True))
    }
    return {"trees": found, "queries": queries}


def _uuid() -> str:
    return "00000000-0000-0000-0000-000000000001"


def _provider(tree: Any, data: Any) -> dict[str, Any]:
    parent = data.parent_uuid
    return {
        "name": data.name,
        "parent": tree.data(parent).name if parent else None,
        "inventory": data.inventory,
        "traits": sorted(data.traits),
    }


def _query(guest: guests.Guest) -> str:
    """What Nova's scheduler asks Placement for this guest."""
    spec = objects.RequestSpec(
        context=nova_context.get_admin_context(),
        flavor=guest.instance.flavor,
        image=guest.instance.image_meta,
        is_bfv=False,
        requested_resources=[],
        requested_networks=objects.NetworkRequestList(objects=[]),
        request_level_params=objects.RequestLevelParams(),
    )
    request = scheduler_utils.ResourceRequest.from_request_spec(spec)
    query: str = request.to_querystring()
    return query


def apart(work: Callable[[], Any]) -> Any:
    """What the work returns, done by a child of this process."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read)
            os.write(write, json.dumps(work()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)  # libvirt's threads would keep it
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"a measuring process ended with status {status}")
    return json.loads(text)


PARTS: dict[str, Callable[..., Any]] = {
    "plain": lambda **work: guest_xml(False, **work),
    "encrypted": lambda **work: guest_xml(True, admitted=True, **work),
    "encrypted, with its check": lambda **work: guest_xml(True, **work),
    "start": start,
    "update": update,
    "trees": trees,
}


def main(conf: str, output: str, work: str) -> None:
    config.parse_args(["nova-compute", "--config-file", conf])
    neutron.register_dynamic_opts(CONF)
    objects.register_all()
    os_vif.initialize()
    found = {}
    for part, how in json.loads(work).items():
        # The start of a driver has a process for each; it must have no threads here.
        do = functools.partial(PARTS[part], **how)
        found[part] = do() if part == "start" else apart(do)
    pathlib.Path(output).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
