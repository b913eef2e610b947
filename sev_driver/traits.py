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


"""Which traits say what a host can encrypt."""

from __future__ import annotations

import dataclasses

import os_traits

from sev_driver.model import MemoryEncryptionModel

#: On the host's own provider while it offers any model: what a plain flavor can
#: forbid. Since Nova 32 the models' traits are on their own providers, which a
#: guest without encryption takes nothing of.
HOST = "CUSTOM_AMD_SEV_HOST"

#: Whose provider it is: Nova's, as Nova 34 says of all that it makes.
OWNER = str(os_traits.OWNER_NOVA)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The trait that a model's provider is to have, and the one it is not."""

    wanted: str
    unwanted: str


def is_standard(model: MemoryEncryptionModel) -> bool:
    """Tell whether the os-traits that is installed here has the model's trait."""
    return hasattr(os_traits, model.trait)


def choose(model: MemoryEncryptionModel, standard: bool) -> Choice:
    """:param standard: whether os-traits here and Placement have the real one.

    Nova can make no trait but a custom one in Placement.
    """
    custom = f"CUSTOM_{model.trait}"
    if standard:
        return Choice(model.trait, custom)
    return Choice(custom, model.trait)
