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


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
