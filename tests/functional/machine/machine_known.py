# SPDX-License-Identifier: Apache-2.0

"""Faults that the state machine finds and that are known: what it looks past.

Each has a script that must fail as it says, so that the entry goes with its fault.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import novas
from machine_world import REFUSED_FLAVOR, PromiseBroken, World

RELEASES = range(27, 35)


@dataclasses.dataclass(frozen=True)
class KnownFault:
    """A promise that is broken.

    ``is_it`` tells by what a check has found whether it is this fault; ``script``
    shows it.
    """

    is_it: Callable[[PromiseBroken], bool]
    script: Callable[[World], None]
    releases: range = RELEASES


def find(broken: PromiseBroken) -> str | None:
    """Return the name of the known fault that ``broken`` is, None for a new one."""
    for name, fault in FAULTS.items():
        if is_here(fault) and fault.is_it(broken):
            return name
    return None


def is_here(fault: KnownFault) -> bool:
    return novas.RELEASE in fault.releases


def _evacuate_after_a_refused_resize(state: World) -> None:
    state.create(server="a", kind=("plain", "usb"), host="ours-1")
    state.resize(server="a", flavor="ours-held", host="ours-2")
    state.evacuate(hosts=("ours-1", "ours-2"))


FAULTS: dict[str, KnownFault] = {
    # nova-conductor stores the new flavor as soon as it has asked a host for a resize.
    # If that is refused or fails, the flavor stays until the next resize or migration.
    # The driver restores it after a refusal, but here the host answers before
    # nova-conductor stores it: see _answer_no_cast and test_refused_moves.
    "Nova's scheduler keeps the flavor of a refused resize": KnownFault(
        lambda broken: broken.promise == REFUSED_FLAVOR,
        _evacuate_after_a_refused_resize,
    ),
}
