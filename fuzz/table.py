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

"""All targets, by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from fuzz.target import Target

#: The light ones to import first: Nova's come last.
MODULES = (
    "host_targets",
    "conclusion_target",
    "doctor_targets",
    "domain_targets",
    "guest_targets",
)


def targets() -> Iterator[Target]:
    """Yield them all; a module is imported when it is its turn."""
    for module in MODULES:
        yield from importlib.import_module(f"fuzz.{module}").TARGETS


def find(name: str) -> Target:
    """:param name: a target's; ``MODULE:NAME`` where it is of another module."""
    module, colon, name = name.rpartition(":")
    found = importlib.import_module(module).TARGETS if colon else targets()
    return next(target for target in found if target.name == name)
