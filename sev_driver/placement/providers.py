# SPDX-License-Identifier: Apache-2.0

"""The names and traits of the resource providers with slots."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import os_traits

from sev_driver.model import SEV, AnyModel, MemoryEncryptionModel


@dataclasses.dataclass(frozen=True)
class ProviderNames:
    """The names of a host's providers.

    ``node`` is the name of the root provider. ``on_root`` is true if the slots of plain
    SEV are on the root provider, as in Nova 31 and older.
    """

    node: str
    on_root: bool

    def child(self, model: AnyModel) -> str:
        """Return the name of the model's child provider, as in Nova 32 and later."""
        return f"{self.node}_{model.symbol}"

    def provider_for(self, model: MemoryEncryptionModel) -> str:
        """Return the name of the provider with the model's slots."""
        return self.node if self.on_root and model is SEV else self.child(model)

    @functools.cached_property
    def all(self) -> tuple[str, ...]:
        """The names of all providers that can have slots."""
        return (self.node, *map(self.child, MemoryEncryptionModel))

    @functools.cached_property
    def stale_provider(self) -> str:
        """The name of the provider that slots of plain SEV are moved away from."""
        return self.child(SEV) if self.on_root else self.node


#: The trait of a provider that Nova owns; Nova 34 sets it on all its providers.
OWNER = str(os_traits.OWNER_NOVA)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The trait that a model's provider should have, and the one to remove."""

    wanted: str
    unwanted: str


def is_standard(model: MemoryEncryptionModel) -> bool:
    """Return whether the installed os-traits has the model's trait."""
    return hasattr(os_traits, model.trait)


def choose(model: MemoryEncryptionModel, standard: bool) -> Choice:
    """Return the trait for a model's provider; only custom traits can be created.

    :param standard: true if both os-traits and Placement have the standard trait.
    """
    custom = f"CUSTOM_{model.trait}"
    if standard:
        return Choice(model.trait, custom)
    return Choice(custom, model.trait)


#: Of the trait of a SEV-SNP provider that names the guest firmware.
FIRMWARE_TRAIT = "CUSTOM_SEV_FIRMWARE_"
_FIRMWARE_DIGITS = 12


def firmware_trait(sha256: str) -> str:
    """Return the trait of hosts that launch guests with a guest firmware.

    :param sha256: the digest of its file, in hexadecimal digits.
    """
    return FIRMWARE_TRAIT + sha256[:_FIRMWARE_DIGITS].upper()


def is_pool(provider: str) -> bool:
    """Return whether a provider's name is that of a model's child provider."""
    return any(provider.endswith(f"_{model.symbol}") for model in MemoryEncryptionModel)


def model_of_provider(provider: str) -> MemoryEncryptionModel:
    """Return the model whose slots a provider has, by the provider's name.

    Slots on a root provider are those of plain SEV, as in Nova 31 and older.
    """
    # The longest suffix first.
    for model in sorted(MemoryEncryptionModel, key=lambda m: -len(m.symbol)):
        if provider.endswith(f"_{model.symbol}"):
            return model
    return MemoryEncryptionModel.AMD_SEV


def find_provider(
    tree: Mapping[str, str], root: str, model: MemoryEncryptionModel
) -> str | None:
    """Return the uuid of the provider with a model's slots, None if it does not exist.

    :param tree: the names of a host's resource providers, by uuid.
    :param root: the uuid of the root provider.
    """
    names = ProviderNames(tree[root], on_root=False)
    uuids = {name: uuid for uuid, name in tree.items()}
    own = uuids.get(names.child(model))
    # Nova 31 and older has only slots of plain SEV, on the root provider.
    return root if own is None and model is SEV else own
