# SPDX-License-Identifier: Apache-2.0
"""Requests; settle; look; and again."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable

from soak import checker, strangers
from soak.chance import Action, Chance, Request
from soak.cloud import TOTALS, SoakCloud
from soak.counts import Counts
from soak.look import Onlooker
from soak.requests import Requests, expect
from soak.tables import SYMBOLS, Expected, Look, Provider, Stranger

#: Seconds, for those who count to agree on a busy machine. Nova gives a slot back a
#: moment after the server is gone.
AGREE_TIMEOUT = 120.0
#: Of settles: after so many a stranger comes or goes.
SETTLES_A_STRANGER = 3


class Soak:
    """:param cloud: it runs, and has no servers.
    :param say: where a line of progress goes.
    """

    def __init__(
        self, cloud: SoakCloud, chance: Chance, say: Callable[[str], None]
    ) -> None:
        self._cloud = cloud
        self._chance = chance
        self._say = say
        self._onlooker = Onlooker(cloud)
        self._strangers: tuple[Stranger, ...] = ()
        self.counts = Counts()
        self.requests = Requests(cloud, self.counts)
        self.agree_timeout = AGREE_TIMEOUT

    def run(self, until: Callable[[], bool]) -> None:
        """Rounds until that is true; then all is deleted.

        :raises SoakError: somebody disagrees, or a request went wrong.
        """
        while not until():
            asked = self._chance.round(self.requests.states)
            refused = self.requests.do(asked, self._strangers)
            look = self.settle(_said(asked, len(refused)))
            if self.counts.settles % SETTLES_A_STRANGER == 0:
                look = self._toggle_stranger(look)
            for kind in sorted(set(refused))[:1]:
                self._probe(kind, look)
        self.clear()

    def clear(self) -> None:
        """Delete all, strangers too: no slot may be left in use."""
        self.requests.do(
            Request(Action.DELETE, uuid=uuid) for uuid in list(self.requests.states)
        )
        for stranger in self._strangers:
            strangers.end(self._cloud.hosts[stranger.host], stranger)
        self._strangers = ()
        self.settle("all deleted")

    def close(self) -> None:
        self._onlooker.close()

    def settle(self, what: str) -> Look:
        """What all say when they agree.

        :raises SoakError: they do not, for too long.
        """
        began = time.monotonic()
        self._onlooker.await_updates()
        late, deadline = False, time.monotonic() + self.agree_timeout
        while True:
            look = self._onlooker.look()
            complaints = checker.disagreements(look, self._expected)
            if not complaints:
                break
            expect(time.monotonic() < deadline, "\n  ".join([what, *complaints]))
            late = True
            self._onlooker.await_updates()
        expect(
            not self._cloud.cloud.layout.deaths.exists(),
            "a process of the cloud has died",
        )
        # Not before: all have now seen that they hold nothing.
        self.requests.delete_refused()
        self.counts.settled(look, late)
        seconds = time.monotonic() - began
        self._say(f"{what}: {_used(look)}: all agree, after {seconds:.1f} s")
        return look

    @property
    def _expected(self) -> Expected:
        requests = self.requests
        refused = frozenset(requests.refused)
        return Expected(TOTALS, requests.states, self._strangers, refused)

    def _toggle_stranger(self, look: Look) -> Look:
        now = strangers.toggle(
            self._cloud.hosts, self._strangers, look, self._chance.random
        )
        if now == self._strangers:
            return look
        came = len(now) > len(self._strangers)
        self._strangers = now
        self.counts.strangers += 1
        return self.settle(f"a stranger has {'come' if came else 'gone'}")

    def _probe(self, kind: str, look: Look) -> None:
        """One server, alone: it runs exactly if a slot was free."""
        free = look.free(kind)
        refused = self.requests.do([Request(Action.CREATE, kind)], self._strangers)
        self.counts.probes += 1
        outcome = "refused" if refused else "built"
        expect(
            bool(refused) == (free == 0),
            f"{free} slots of {kind} were free, and a server that was asked for alone "
            f"was {outcome}",
        )
        self.settle(f"a probe of {kind}, {outcome}")


def _said(requests: list[Request], refused: int) -> str:
    counts = collections.Counter(request.action.value for request in requests)
    parts = [f"{number} {action}" for action, number in sorted(counts.items())]
    return ", ".join(parts) + (f" ({refused} refused)" if refused else "")


def _used(look: Look) -> str:
    """Such as: node1 sev 3+1/4 es 0/1 snp 2/2; reserved ones are behind the plus."""
    return "; ".join(
        " ".join([name, *(_share(kind, host.providers[kind]) for kind in SYMBOLS)])
        for name, host in sorted(look.hosts.items())
    )


def _share(kind: str, provider: Provider) -> str:
    reserved = f"+{provider.reserved}" if provider.reserved else ""
    return f"{kind} {provider.used}{reserved}/{provider.total}"
