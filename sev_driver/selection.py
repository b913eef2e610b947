#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Which generation a guest asks for, from all that say so."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sev_driver.model import MemoryEncryptionModel

#: A flavor key of our own: the API of every Nova takes foreign namespaces.
MODEL_KEY = "sev:model"
#: Nova's own since 32.0.0 (amd-sev-snp since 34.0.0).
NOVA_MODEL_KEY = "hw:mem_encryption_model"

_REQUIRED_TRAIT = re.compile(
    r"trait[\w-]*:(?:CUSTOM_)?HW_CPU_X86_(AMD_SEV(?:_ES|_SNP)?)"
)


@dataclasses.dataclass(frozen=True)
class ModelAsk:
    """One voice for the model named ``value``: what ``owner`` has, in ``words``."""

    value: str
    owner: str
    words: str

    @property
    def model(self) -> MemoryEncryptionModel | None:
        """None for one that is not AMD's, or no model at all."""
        try:
            return MemoryEncryptionModel(self.value)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.owner} has {self.words}"


@dataclasses.dataclass(frozen=True)
class Selection:
    """The generation that a guest gets, or the words in which it cannot."""

    model: MemoryEncryptionModel
    conflict: str | None = None


def select(asks: Sequence[ModelAsk]) -> Selection:
    """Return what all of ``asks`` agree on: SEV where nobody asks."""
    for ask in asks:
        if ask.model is None:
            names = ", ".join(model.value for model in MemoryEncryptionModel)
            conflict = f"{ask.owner} has {ask.words[:60]}, not one of {names}"
            return Selection(MemoryEncryptionModel.AMD_SEV, conflict)
    for ask in asks[1:]:
        if ask.value != asks[0].value:
            other = ask.words if ask.owner == asks[0].owner else str(ask)
            conflict = f"{asks[0]} and {other}"
            return Selection(_first(asks), conflict)
    return Selection(_first(asks))


def _first(asks: Sequence[ModelAsk]) -> MemoryEncryptionModel:
    model = asks[0].model if asks else None
    return model or MemoryEncryptionModel.AMD_SEV


def flavor_asks(name: str, extra_specs: Mapping[str, str]) -> Iterator[ModelAsk]:
    """Yield what the flavor ``name`` says of the generation."""
    for key in (NOVA_MODEL_KEY, MODEL_KEY):
        if key in extra_specs:
            value = extra_specs[key]
            yield ModelAsk(value, f"flavor {name}", f"{key}={value}")
    yield from _trait_asks(f"flavor {name}", extra_specs.items())


def image_asks(name: str, properties: Mapping[str, str]) -> Iterator[ModelAsk]:
    """Yield what the image ``name`` says of it.

    :param properties: as the image has them, those that Nova does not know too.
    """
    key = "hw_mem_encryption_model"
    if key in properties:
        value = properties[key]
        yield ModelAsk(value, name, f"{key}={value}")
    yield from _trait_asks(name, properties.items())


def _trait_asks(owner: str, items: Iterable[tuple[str, str]]) -> Iterator[ModelAsk]:
    for key, value in sorted(items):
        match = _REQUIRED_TRAIT.fullmatch(key)
        if match and value == "required":
            model = match.group(1).lower().replace("_", "-")
            yield ModelAsk(model, owner, f"{key}={value}")
