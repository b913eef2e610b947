# SPDX-License-Identifier: Apache-2.0
"""What is asked for next, at random.

By the same seed the same again, as far as Nova answers alike: what is refused, and how
long all takes, decides which servers there are to choose from.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import random
from collections.abc import Mapping

from soak.checker import ACTIVE
from soak.tables import PLAIN

#: Of the kinds, how often each is made, by the number of slots that there are.
WEIGHTS = {"sev": 4, "es": 2, "snp": 3, PLAIN: 2}
#: Requests in a round; a round in so many deletes nearly all that there is.
SIZES = range(3, 9)
ROUNDS_A_SWEEP = 12
#: More servers than this, and deleting is more likely than making.
ENOUGH = 16
#: Seconds until one that is being built is deleted.
LONGEST_PATIENCE = 6.0


class Action(enum.Enum):
    CREATE = "create"
    #: And delete, while it is being built.
    REGRET = "create and delete"
    DELETE = "delete"
    STOP = "stop"
    START = "start"
    REBOOT = "reboot"


@dataclasses.dataclass(frozen=True)
class Request:
    action: Action
    #: What to make.
    kind: str = ""
    #: The server that it is of, unless it is to be made.
    uuid: str = ""
    patience: float = 0.0


class Chance:
    """:param seed: of all that is random in a run."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rounds = itertools.count(1)
        self.random = random.Random(seed)  # nosec B311  # the same again is the point

    def round(self, servers: Mapping[str, str]) -> list[Request]:
        """Requests for one round, at most one of a server.

        :param servers: the state of each by its uuid, in the order of their requests.
        """
        # Anew, so that a round that went otherwise does not change all after it.
        self.random.seed(f"{self._seed}/{next(self._rounds)}")
        left = list(servers)  # not sorted: Nova makes up another uuid each time
        self.random.shuffle(left)
        if self.random.randrange(ROUNDS_A_SWEEP) == 0 and len(left) > SIZES.start:
            return [Request(Action.DELETE, uuid=uuid) for uuid in left[1:]]
        return [
            self._request(left, servers)
            for _ in range(self.random.randrange(SIZES.start, SIZES.stop))
        ]

    def kind(self) -> str:
        return self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]

    def _request(self, left: list[str], servers: Mapping[str, str]) -> Request:
        share = 0.65 if len(servers) < ENOUGH else 0.35
        if not left or self.random.random() < share:
            return self._creation()
        uuid = left.pop()
        if self.random.random() < 0.7:
            return Request(Action.DELETE, uuid=uuid)
        if servers[uuid] != ACTIVE:
            return Request(Action.START, uuid=uuid)
        return Request(self.random.choice((Action.STOP, Action.REBOOT)), uuid=uuid)

    def _creation(self) -> Request:
        if self.random.random() < 0.15:
            patience = self.random.uniform(0, LONGEST_PATIENCE)
            return Request(Action.REGRET, self.kind(), patience=patience)
        return Request(Action.CREATE, self.kind())
