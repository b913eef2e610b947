# SPDX-License-Identifier: Apache-2.0

"""Misspelt keys and values that were probably meant to ask for encryption.

Nova's API accepts any extra spec from a client with a microversion before 2.86, and
Glance accepts any image property. A misspelt one has no effect: the guest runs in the
clear, or with another model than intended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from sev_driver.exceptions import printable
from sev_driver.guest import input_keys
from sev_driver.guest.model_selection import (
    FLAVOR_KEY,
    IMAGE_KEY,
    IMAGE_MODEL_KEY,
    MODEL_KEY,
    NOVA_MODEL_KEY,
)
from sev_driver.guest.spelling import nearest
from sev_driver.model import ForeignModel, MemoryEncryptionModel

_ASKING = frozenset({FLAVOR_KEY, IMAGE_KEY})
_MODEL_KEYS = frozenset({NOVA_MODEL_KEY, MODEL_KEY, IMAGE_MODEL_KEY})
_FLAVOR_KEYS = (FLAVOR_KEY, NOVA_MODEL_KEY, MODEL_KEY)
_IMAGE_KEYS = (IMAGE_KEY, IMAGE_MODEL_KEY)

#: The values that oslo.utils, and so Nova, takes for true and false.
_TRUE = ("true", "1", "t", "on", "y", "yes")
_FALSE = ("false", "0", "f", "off", "n", "no")
#: Every model, of AMD and of other vendors.
_MODELS = tuple(
    model.value for enum in (MemoryEncryptionModel, ForeignModel) for model in enum
)


@dataclasses.dataclass(frozen=True)
class NearMiss:
    """A misspelt setting of ``owner``, and the one that was probably meant."""

    owner: str
    key: str
    value: str
    meant_key: str
    meant_value: str

    @property
    def meant_model(self) -> str | None:
        """The model that was probably meant, None if the setting names no model."""
        named = self.meant_key in _MODEL_KEYS and self.meant_value in _MODELS
        return self.meant_value if named else None

    @property
    def found(self) -> str:
        """The misspelt setting, without its owner."""
        return f"{printable(self.key, 60)}={printable(self.value, 60)} has no effect"

    @property
    def remedy(self) -> str:
        """How to correct the setting."""
        meant = f"{self.meant_key}={self.meant_value}"
        return f"set {meant} if that is meant, or unset it"

    def __str__(self) -> str:
        key, value = printable(self.key, 60), printable(self.value, 60)
        return f"{key}={value} of {self.owner} has no effect: {self.remedy}."


def of_flavor(owner: str, extra_specs: Mapping[str, str]) -> tuple[NearMiss, ...]:
    """Return the near misses among a flavor's extra specs."""
    return tuple(_near_misses(owner, extra_specs, _FLAVOR_KEYS))


def of_image(owner: str, properties: Mapping[str, str]) -> tuple[NearMiss, ...]:
    """Return the near misses among an image's properties."""
    return tuple(_near_misses(owner, properties, _IMAGE_KEYS))


def _near_misses(
    owner: str, items: Mapping[str, str], keys: tuple[str, ...]
) -> Iterator[NearMiss]:
    for key, value in sorted(items.items()):
        if key in keys:
            if key in _ASKING and _normal(value) not in (*_TRUE, *_FALSE):
                yes_or_no = nearest(_normal(value), ("true", "false"))
                yield NearMiss(owner, key, value, key, yes_or_no or "true")
            continue
        meant_key = _meant_key(key, value, keys)
        if meant_key is not None:
            known = _MODELS if meant_key in _MODEL_KEYS else (*_TRUE, *_FALSE)
            meant = nearest(_normal(value), known)
            default = "<model>" if meant_key in _MODEL_KEYS else "true"
            yield NearMiss(owner, key, value, meant_key, meant or default)


def _meant_key(key: str, value: str, keys: tuple[str, ...]) -> str | None:
    text = _normal(key)
    if MODEL_KEY in keys and text.startswith("sev:"):
        # This driver's namespace has no other keys.
        return None if input_keys.is_meant(text) else MODEL_KEY
    meant = nearest(text, keys)
    if meant == MODEL_KEY and nearest(_normal(value), _MODELS) is None:
        # The key is short, so keys of others, such as gpu:model, resemble it.
        return None
    return meant


def _normal(text: str) -> str:
    return text.strip().lower()
