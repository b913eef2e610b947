# SPDX-License-Identifier: Apache-2.0

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
    "inputs_targets",
    "processor_targets",
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
