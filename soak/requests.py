# SPDX-License-Identifier: Apache-2.0
"""Asks Nova for servers, several at once, and judges what comes of it."""

from __future__ import annotations

import collections
import itertools
import time
from collections.abc import Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from soak import checker
from soak.chance import Action, Request
from soak.checker import ACTIVE, STOPPED
from soak.cloud import TOTALS, SoakCloud, SoakError
from soak.counts import Counts
from soak.tables import PLAIN, POOLS, Stranger

AT_ONCE = 6
#: Seconds, on a busy machine, for all that was asked for at once.
TIMEOUT = 300.0
REFUSAL = "No valid host was found."
#: Nova lets go of a slot before the guest, where it is deleted while it is built. The
#: next one to be given that slot may find the hardware full, and no other host. It
#: was scheduled, so that its row is where those of servers that run are.
TOO_EARLY = "Exceeded maximum number of retries."


def expect(right: bool, complaint: str) -> None:
    """:raises SoakError: it is not."""
    if not right:
        raise SoakError(complaint)


class Requests:
    """:param cloud: it runs, and has no servers but those that are made here."""

    def __init__(self, cloud: SoakCloud, counts: Counts) -> None:
        self._cloud = cloud
        self._counts = counts
        self._names = itertools.count(1)
        #: The servers that are to be there: what each is, and its state.
        self.kinds: dict[str, str] = {}
        self.states: dict[str, str] = {}
        #: Those that were refused and are there still.
        self.refused: set[str] = set()

    def do(
        self, requests: Iterable[Request], strangers: Iterable[Stranger] = ()
    ) -> list[str]:
        """Do all of them, and wait; the kinds of those that were refused.

        :raises SoakError: something went wrong, or a refusal was not right.
        """
        requests = list(requests)
        taken = collections.Counter(self.kinds.values())
        taken.update(stranger.kind for stranger in strangers)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            made = zip(pool.map(self._ask, requests), requests, strict=True)
            new = {uuid: request for uuid, request in made if uuid is not None}
        taken.update(request.kind for request in new.values())
        regretted = {
            uuid: new.pop(uuid).kind
            for uuid, request in list(new.items())
            if request.action is Action.REGRET
        }
        servers = self._await_idle(regretted.keys())
        early = {POOLS[kind] for kind in regretted.values() if kind in POOLS}
        refused = []
        for uuid, request in new.items():
            also = (TOO_EARLY,) if POOLS.get(request.kind) in early else ()
            if _was_built(servers.get(uuid), uuid, (REFUSAL, *also)):
                self.kinds[uuid], self.states[uuid] = request.kind, ACTIVE
            else:
                self.refused.add(uuid)
                refused.append(request.kind)
        self._judge(refused, taken, early)
        return refused

    def delete_refused(self) -> None:
        compute = self._cloud.connection.compute
        for server in compute.servers(status="ERROR"):
            compute.delete_server(server)
            compute.wait_for_delete(server, interval=0.2, wait=TIMEOUT)
        self.refused.clear()

    def _ask(self, request: Request) -> str | None:
        """Ask for one, and do not wait; the server that is made, if one is."""
        compute, uuid = self._cloud.connection.compute, request.uuid
        match request.action:
            case Action.CREATE:
                return self._create(request.kind)
            case Action.REGRET:
                uuid = self._create(request.kind)
                time.sleep(request.patience)  # any time of its building is worth a try
                self._delete(uuid)
                return uuid
            case Action.DELETE:
                self._delete(uuid)
                del self.kinds[uuid], self.states[uuid]
                return None
            case Action.STOP:
                compute.stop_server(uuid)
                self.states[uuid] = STOPPED
            case Action.START:
                compute.start_server(uuid)
                self.states[uuid] = ACTIVE
            case Action.REBOOT:
                compute.reboot_server(uuid, "HARD")
        self._counts.other += 1
        return None

    def _create(self, kind: str) -> str:
        flavor, image = self._cloud.parts[kind]
        self._counts.creates += 1
        server = self._cloud.connection.compute.create_server(
            name=f"{kind}-{next(self._names)}",
            flavor_id=flavor,
            image_id=image,
            networks="none",
        )
        return str(server.id)

    def _delete(self, uuid: str) -> None:
        self._counts.deletes += 1
        self._cloud.connection.compute.delete_server(uuid)

    def _await_idle(self, regretted: Set[str]) -> dict[str, Any]:
        """All servers, by their uuid, once Nova is done with every one.

        :param regretted: those that were deleted while they were being built: of such
            a one Nova says for a moment that it has failed, before it is gone.
        """
        deadline = time.monotonic() + TIMEOUT
        while True:
            servers = {s.id: s for s in self._cloud.connection.compute.servers()}
            busy = [
                f"{server.name} is {server.status}, {server.task_state}"
                for uuid, server in servers.items()
                if server.status == "BUILD"
                or server.task_state
                or uuid in regretted
                # Nova records a moment later why.
                or (server.status == "ERROR" and not server.fault)
            ]
            if not busy:
                return servers
            expect(time.monotonic() < deadline, f"not settled in {TIMEOUT} s: {busy}")
            time.sleep(0.3)  # Nova tells nobody: one has to look again

    def _judge(
        self, refused: list[str], taken: collections.Counter[str], early: Set[str]
    ) -> None:
        """Whether each refusal may have been right.

        :param taken: by kind, all who may have had a slot since the first request.
        :param early: pools of those that were deleted while they were being built.
        """
        self._counts.refused += len(refused)
        for kind in refused:
            expect(kind != PLAIN, f"a plain server was refused: {REFUSAL}")
            others = taken - collections.Counter([kind])
            hosts, shared = len(self._cloud.hosts), POOLS[kind] in early
            complaint = checker.needless(kind, others, TOTALS, hosts, shared)
            expect(complaint is None, str(complaint))


def _was_built(server: Any, uuid: str, refusals: tuple[str, ...]) -> bool:
    """Whether it runs; if not, there was no slot for it.

    :param refusals: as what it may be told so.
    :raises SoakError: that is not why.
    """
    expect(server is not None, f"Nova has lost server {uuid}")
    if server.status == "ACTIVE":
        return True
    fault = (server.fault or {}).get("message", "")
    expect(
        server.status == "ERROR" and fault.startswith(refusals),
        f"{server.name} is {server.status}: {fault}",
    )
    return False
