# SPDX-License-Identifier: Apache-2.0

"""nova.conf: the options that the doctor checks, and the value of no other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping

from oslo_config import cfg, types

from sev_driver.conf import opts

OURS = "sev"

#: The driver's options, by section and name.
OPTIONS: Mapping[tuple[str, str], cfg.Opt] = {
    (section, option.dest): option
    for section, options in opts.list_opts()
    for option in options
}

#: Options whose values are read and kept, by section. Of our own section it is all
#: that the driver knows; what else stands there may be somebody's secret.
READ: Mapping[str, frozenset[str]] = {
    "DEFAULT": frozenset(
        {
            "compute_driver",
            "cpu_allocation_ratio",
            "host",
            "initial_ram_allocation_ratio",
            "ram_allocation_ratio",
            "reserved_host_memory_mb",
            "reserved_huge_pages",
            "state_path",
        }
    ),
    "libvirt": frozenset(
        {
            "cpu_mode",
            "cpu_models",
            "disk_prefix",
            "hw_disk_discard",
            "hw_machine_type",
            "images_type",
            "num_memory_encrypted_guests",
            "num_pcie_ports",
            "virt_type",
        }
    ),
    "compute": frozenset({"cpu_dedicated_set", "cpu_shared_set"}),
    OURS: frozenset(name for section, name in OPTIONS if section == OURS),
}
#: Sections in which the names of all options are kept, to find misspelt ones.
NAMES = frozenset({"DEFAULT", "libvirt", OURS})

_SECTION = re.compile(r"\[([^\]]{1,64})\]")
_OPTION = re.compile(r"([A-Za-z_][\w.-]{0,127})\s*[=:](.*)")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option as it stands in a file; ``value`` is None where it is withheld."""

    section: str
    name: str
    value: str | None
    path: str


def sift(text: bytes) -> bytes:
    """Return the part of a file that is kept: no value of an option not in READ."""
    lines = []
    section = None
    for name, option, value in _lines(text.decode("utf-8", "replace")):
        if name not in NAMES and name not in READ:
            continue
        if name != section:
            section = name
            lines.append(f"[{name}]")
        if option in READ.get(name, ()):
            lines.append(f"{option} = {value}")
        elif name in NAMES:
            lines.append(f"#{option}")
    return "".join(line + "\n" for line in lines).encode()


def parse(path: str, kept: bytes) -> Iterator[Option]:
    """Yield the options of what :func:`sift` has kept of the file ``path``."""
    section = "DEFAULT"
    for line in kept.decode("utf-8", "replace").splitlines():
        if match := _SECTION.fullmatch(line):
            section = _as_oslo_has_it(match[1])
        elif line.startswith("#"):
            yield Option(section, line[1:], None, path)
        elif match := _OPTION.fullmatch(line):
            yield Option(section, match[1], match[2].strip(), path)


def number(text: str | None) -> int | None:
    """Return the number that oslo.config reads; None if the option is unset or empty.

    :raises ValueError: it is not a number.
    """
    found = None if text is None else types.Integer()(text)
    return None if found is None else int(found)


def in_force(options: Iterable[Option]) -> Mapping[tuple[str, str], Option]:
    """Return the options by section and name: the last one counts."""
    return {(option.section, option.name): option for option in options}


def _as_oslo_has_it(section: str) -> str:
    """Return a section's name without case, which matters only in DEFAULT."""
    return section if section == "DEFAULT" else section.lower()


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield section, name and value; a line that is indented goes on with a value.

    What goes on is left out: no option that is kept needs a second line.
    """
    section = "DEFAULT"
    for line in text.splitlines():
        if not line.strip() or line[0] in "#; \t":
            continue
        if match := _SECTION.match(line):
            section = _as_oslo_has_it(match[1])
        elif match := _OPTION.fullmatch(line):
            yield section, match[1], match[2].strip().strip("'\"")
