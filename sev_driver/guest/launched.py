# SPDX-License-Identifier: Apache-2.0

"""What a host says of a guest's launch: keys of the server's metadata.

A host can write anything there. The guest's owner compares it with values of its own.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Final

from sev_driver.exceptions import printable

#: The keys begin with it. The driver overwrites what a user writes there.
PREFIX: Final = "sev:launched_"

#: The facts in the order in which they are shown; each is a key without the prefix.
FACTS: Final = (
    "digest",
    "firmware",
    "firmware_path",
    "vcpus",
    "cpu",
    "features",
    "policy",
    "kernel",
    "initrd",
    "cmdline",
    "by",
)

#: The value of a fact that does not apply, such as a kernel that is not measured.
NONE: Final = "none"
_UNKNOWN: Final = "unknown: "
#: Nova's limit for a value of metadata.
VALUE_CHARACTERS: Final = 255


def unknown(reason: object) -> str:
    """Return the value of a fact that the host does not know."""
    return f"{_UNKNOWN}{reason}"


def is_unknown(value: str) -> bool:
    """Return whether a value says that the host does not know the fact."""
    return value.startswith(_UNKNOWN)


def as_metadata(facts: Mapping[str, str]) -> dict[str, str]:
    """Return the items of a server's metadata; each of :data:`FACTS` has one."""
    given = {name: facts.get(name, unknown("it was not read")) for name in FACTS}
    return {
        PREFIX + name: printable(value, VALUE_CHARACTERS - 1)
        for name, value in given.items()
    }


def without(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return a server's metadata without what was written about a launch."""
    return {k: v for k, v in metadata.items() if not k.startswith(PREFIX)}


class Verdict(enum.Enum):
    """How a fact that the host says relates to the owner's own value."""

    YOURS = "yours"
    DIFFERS = "differs"
    HOSTS_WORD = "the host's word"
    UNKNOWN = "unknown to the host"
    NOT_SAID = "not said"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A fact, as the host says it and as the owner has it; None: not given."""

    fact: str
    host: str | None
    own: str | None
    verdict: Verdict


def compare(
    metadata: Mapping[str, str], own: Mapping[str, str]
) -> tuple[Comparison, ...]:
    """Compare what a host says of a launch with values of the guest's owner.

    :param metadata: the server's metadata.
    :param own: the owner's values for any of :data:`FACTS`.
    """
    return tuple(
        Comparison(
            fact,
            metadata.get(PREFIX + fact),
            own.get(fact),
            _verdict(fact, metadata.get(PREFIX + fact), own.get(fact)),
        )
        for fact in FACTS
    )


def _verdict(fact: str, host: str | None, own: str | None) -> Verdict:
    if host is None:
        return Verdict.NOT_SAID
    if is_unknown(host):
        return Verdict.UNKNOWN
    if own is None:
        return Verdict.HOSTS_WORD
    return Verdict.YOURS if _core(fact, host) == _core(fact, own) else Verdict.DIFFERS


def _core(fact: str, value: str) -> str:
    # The digest depends on the signature of a CPU, not on the name of its model.
    return value.rpartition(" ")[2] if fact == "cpu" else value.strip()
