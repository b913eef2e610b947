# SPDX-License-Identifier: Apache-2.0

"""The model that a flavor and an image select."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sev_driver.model import MemoryEncryptionModel

#: This driver's flavor key. The API of every Nova accepts keys of other namespaces.
MODEL_KEY = "sev:model"
#: Nova's flavor key, since 32.0.0 (amd-sev-snp since 34.0.0).
NOVA_MODEL_KEY = "hw:mem_encryption_model"
#: Nova's image property, since 32.0.0 (amd-sev-snp since 34.0.0).
IMAGE_MODEL_KEY = "hw_mem_encryption_model"

#: Nova's flavor key and image property that ask for encryption.
FLAVOR_KEY = "hw:mem_encryption"
IMAGE_KEY = "hw_mem_encryption"

_REQUIRED_TRAIT = re.compile(
    r"trait[\w-]*:(?:CUSTOM_)?HW_CPU_X86_(AMD_SEV(?:_ES|_SNP)?)"
)

#: The remedies for a disagreement, and for an unknown model.
AGREE = "make the two agree"
NAME_ONE = (
    f"set it to one of {', '.join(model.value for model in MemoryEncryptionModel)}"
)


@dataclasses.dataclass(frozen=True)
class ModelRequest:
    """A setting that names a model.

    ``value`` is the model's name. ``owner`` is the flavor or image, such as ``flavor
    m1``, and ``setting`` its key and value, such as ``sev:model=amd-sev``.
    """

    value: str
    owner: str
    setting: str

    @property
    def model(self) -> MemoryEncryptionModel | None:
        """The AMD model of that name, None if there is no such model."""
        try:
            return MemoryEncryptionModel(self.value)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.owner} has {self.setting}"


@dataclasses.dataclass(frozen=True)
class ModelSelection:
    """The model that is selected; if there is a ``conflict``, it is not usable."""

    model: MemoryEncryptionModel
    conflict: str | None = None
    remedy: str = AGREE


def select(requests: Sequence[ModelRequest]) -> ModelSelection:
    """Return the model that all of ``requests`` name, SEV without any request."""
    for ask in requests:
        if ask.model is None:
            conflict = (
                f"{ask.owner} has {ask.setting[:60]}, which is no model of AMD SEV"
            )
            return ModelSelection(MemoryEncryptionModel.AMD_SEV, conflict, NAME_ONE)
    return ModelSelection(_first(requests), disagreement(requests))


def disagreement(requests: Sequence[ModelRequest]) -> str | None:
    """Describe the first two requests that name different models; None if all agree."""
    for each in requests[1:]:
        first = requests[0]
        if each.value != first.value:
            other = each.setting if each.owner == first.owner else str(each)
            return f"{first} and {other}"
    return None


def _first(requests: Sequence[ModelRequest]) -> MemoryEncryptionModel:
    model = requests[0].model if requests else None
    return model or MemoryEncryptionModel.AMD_SEV


def flavor_requests(
    name: str, extra_specs: Mapping[str, str]
) -> Iterator[ModelRequest]:
    """Yield the settings of the flavor ``name`` that name a model."""
    for key in (NOVA_MODEL_KEY, MODEL_KEY):
        if key in extra_specs:
            value = extra_specs[key]
            yield ModelRequest(value, f"flavor {name}", f"{key}={value}")
    yield from _trait_requests(f"flavor {name}", extra_specs.items())


def image_requests(name: str, properties: Mapping[str, str]) -> Iterator[ModelRequest]:
    """Yield the settings of the image ``name`` that name a model.

    :param properties: all properties of the image, including those unknown to Nova.
    """
    if IMAGE_MODEL_KEY in properties:
        value = properties[IMAGE_MODEL_KEY]
        yield ModelRequest(value, name, f"{IMAGE_MODEL_KEY}={value}")
    yield from _trait_requests(name, properties.items())


def _trait_requests(
    owner: str, items: Iterable[tuple[str, str]]
) -> Iterator[ModelRequest]:
    for key, value in sorted(items):
        match = _REQUIRED_TRAIT.fullmatch(key)
        if match and value == "required":
            model = match.group(1).lower().replace("_", "-")
            yield ModelRequest(model, owner, f"{key}={value}")
