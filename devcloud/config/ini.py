# SPDX-License-Identifier: Apache-2.0
"""oslo.config files from plain dictionaries."""

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Sections = Mapping[str, Mapping[str, Any]]


def merged(*layers: Sections) -> dict[str, dict[str, Any]]:
    """Sections of all layers; of an option named twice the last one counts."""
    result: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, options in layer.items():
            result.setdefault(section, {}).update(options)
    return result


def write(path: Path, sections: Sections) -> None:
    """Write the file, readable by its owner only: it holds passwords."""
    # oslo.config treats DEFAULT as one section among others, and so must we:
    # configparser's own default section would be copied into every other.
    parser = configparser.RawConfigParser(default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_dict(
        {name: {k: _text(v) for k, v in sections[name].items()} for name in sections}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with path.open("w") as file:
        parser.write(file)


def read(path: Path) -> dict[str, dict[str, str]]:
    """Read back what ``write`` has written."""
    parser = configparser.RawConfigParser(default_section="")
    parser.read(path)
    return {name: dict(parser[name]) for name in parser.sections()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
