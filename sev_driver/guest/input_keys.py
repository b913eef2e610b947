# SPDX-License-Identifier: Apache-2.0

"""The keys of launch inputs: which are meant, in which place, and which are wrong.

What their values mean is in :mod:`sev_driver.guest.launch_inputs`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sev_driver.exceptions import Requirement, Violation, printable
from sev_driver.guest import launched
from sev_driver.guest.spelling import nearest
from sev_driver.model import SEV_SNP

#: The keys begin with it in metadata and extra specs, and in properties of images.
PREFIX: Final = "sev:"
IMAGE_PREFIX: Final = "sev_"
_PREFIXES: Final = (PREFIX, IMAGE_PREFIX)

HOST_DATA: Final = "host_data"
POLICY: Final = "policy"
ID_BLOCK: Final = "id_block"
ID_AUTH: Final = "id_auth"

#: The ID authentication information is longer than a value can be.
PIECE = re.compile(r"id_auth_(0|[1-9]\d?)", re.ASCII)
_NAMES: Final = (HOST_DATA, POLICY, ID_BLOCK)
_MEANT: Final = (*_NAMES, "id_auth_0")
#: The flavor's key of the model, which is no launch input.
_MODEL: Final = "model"


@dataclasses.dataclass(frozen=True)
class Owner:
    """What has launch inputs: its name in messages, such as ``image 1``, and its keys.

    ``items`` can have other keys as well.
    """

    title: str
    items: Mapping[str, str]


def are_given(keys: Iterable[str], prefix: str = "", other: str = "") -> bool:
    """Return whether a key looks like a launch input, in any case of letters.

    For guests without launch inputs, this is the only check.

    :param keys: those of a server's metadata, a flavor or an image.
    :param prefix: what precedes the keys.
    :param other: a key that is not counted.
    """
    keys, prefixes = tuple(keys), tuple([prefix + each for each in _PREFIXES])
    # Most have none: then no key need be looked at by itself.
    text = "\n".join(keys).lower()
    if not any([each in text for each in prefixes]):
        return False
    written = prefix + launched.PREFIX
    return any(
        key.lower().startswith(prefixes)
        and key != other
        and not key.startswith(written)
        for key in keys
    )


def is_meant(key: str) -> bool:
    """Return whether a flavor's key is meant as a launch input, not as ``sev:model``.

    :param key: in lower case.
    """
    name = key[len(PREFIX) :]
    return _is_known(name) or nearest(name, (*_MEANT, _MODEL)) in _MEANT


class InputRefused(Exception):
    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation


@dataclasses.dataclass(frozen=True)
class Value:
    """A key of an owner and its value; ``wrong`` is a violation of the key itself."""

    name: str
    key: str
    owner: str
    text: str
    wrong: Violation | None = None

    def __str__(self) -> str:
        return f"{printable(self.key, 60)} of {self.owner}"

    def refused(self, found: str, remedy: str, has: str = "is given") -> InputRefused:
        """Return the error for a wrong value; ``has`` says what the value is."""
        if self.key.startswith(IMAGE_PREFIX) and len(self.text) == _CHARACTERS:
            has += f" and {_CHARACTERS} characters, where Nova cuts a property"
        return InputRefused(violation(f"{self} {has}", found, remedy))


#: Nova keeps as much of an image's property, and cuts a longer one silently.
_CHARACTERS: Final = launched.VALUE_CHARACTERS


def violation(requester: str, found: str, remedy: str) -> Violation:
    return Violation(Requirement.OWNER_INPUT, requester, found, remedy, SEV_SNP)


def _is_known(name: str) -> bool:
    return name in _NAMES or PIECE.fullmatch(name) is not None


def of_server(metadata: Mapping[str, str]) -> Iterator[Value]:
    for key, text in sorted(metadata.items()):
        if not _is_prefixed(key) or key.startswith(launched.PREFIX):
            continue
        name, value = key[len(PREFIX) :], Value("", key, "the server", text)
        own = key.startswith(PREFIX)
        if own and _is_known(name):
            yield dataclasses.replace(value, name=name)
            continue
        near = _near(name)
        if own or near is not None:
            yield _unknown(value, near, PREFIX)


def of_image(image: Owner) -> Iterator[Value]:
    for key, text in sorted(image.items.items()):
        if not _is_prefixed(key):
            continue
        name, value = key[len(PREFIX) :], Value("", key, image.title, text)
        if key.startswith(IMAGE_PREFIX) and _is_known(name):
            yield dataclasses.replace(value, name=name)
            continue
        near = _near(name)
        # Other properties have nothing to do with this driver.
        if near is not None:
            yield _unknown(value, near, IMAGE_PREFIX)


def of_flavor(flavor: Owner) -> Iterator[Value]:
    for key, text in sorted(flavor.items.items()):
        if not _is_prefixed(key) or not is_meant(key.lower()):
            continue
        name, value = key[len(PREFIX) :], Value("", key, flavor.title, text)
        if key == PREFIX + POLICY:
            yield dataclasses.replace(value, name=name)
        elif _near(name) == POLICY:
            yield _unknown(value, POLICY, PREFIX)
        else:
            wrong = violation(
                f"{value} is given",
                f"of a flavor only {PREFIX}{POLICY} is read",
                "set it in the server's metadata",
            )
            yield dataclasses.replace(value, wrong=wrong)


def _is_prefixed(key: str) -> bool:
    """Return whether a key has a prefix, also one that is only meant: ``SEV:``."""
    return key.lower().startswith(_PREFIXES)


def _near(name: str) -> str | None:
    lower = name.lower()
    return lower if _is_known(lower) else nearest(lower, _MEANT)


def _unknown(value: Value, near: str | None, prefix: str) -> Value:
    use = f"{prefix}{near}"
    if near is None:
        use = " or ".join((", ".join(PREFIX + n for n in _NAMES), PREFIX + _MEANT[-1]))
    wrong = violation(
        f"{value} is given", "there is no such launch input", f"use {use}, or remove it"
    )
    return dataclasses.replace(value, wrong=wrong)
