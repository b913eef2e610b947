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
"""Options of ours in nova.conf that nova-compute cannot take, or does not look at."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping

from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.finding import Check
from sev_driver.doctor.nova_checks import CONF, place, where_read
from sev_driver.doctor.nova_conf import OURS, Option, whole
from sev_driver.doctor.tree import Judgement, Node, failed, passed, warned
from sev_driver.model import MemoryEncryptionModel

#: What oslo.config takes for a boolean; nothing at all is none.
_BOOLEANS = frozenset({"true", "false", "1", "0", "on", "off", "yes", "no"})

Form = Callable[[str], bool]


def number(text: str) -> bool:
    """Whether oslo.config takes it for a number from 0 on, or for unset."""
    try:
        return (whole(text) or 0) >= 0
    except ValueError:
        return False


def boolean(text: str) -> bool:
    return text.lower() in _BOOLEANS


def anything(text: str) -> bool:
    """A text, or a policy: nova.policies judges those."""
    return True


#: All options of ours, with what they can be.
OPTIONS: Mapping[tuple[str, str], Form] = {
    ("libvirt", "num_memory_encrypted_guests"): number,
    (OURS, "num_sev_es_guests"): number,
    (OURS, "num_sev_snp_guests"): number,
    (OURS, "slots_on_root_provider"): boolean,
    (OURS, "audit_interval"): number,
    (OURS, "stop_unencrypted_guests"): boolean,
    (OURS, "require_support_at_start"): boolean,
    (OURS, "allow_debug"): boolean,
    (OURS, "sev_policy"): anything,
    (OURS, "sev_es_policy"): anything,
    (OURS, "snp_policy"): anything,
    (OURS, "prometheus_textfile"): anything,
}
_NAMES = {name: section for section, name in OPTIONS}

#: How like one of ours a foreign name must be to be taken for it. Nova's own names
#: come no nearer: hw_machine_type and num_pcie_ports are less like any.
_ALIKE = 0.85


def values(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    """A value that oslo.config does not take keeps nova-compute from starting."""
    seen = [
        f"[{section}] {name} is {option.value!r}"
        for (section, name), form in OPTIONS.items()
        if (option := evidence.options.get((section, name))) is not None
        and not form(option.value or "")
    ]
    if not seen:
        return passed("each has a value of its kind")
    (section, name) = next(
        key for key in OPTIONS if seen[0].startswith(f"[{key[0]}] {key[1]} ")
    )
    kind = "a number" if OPTIONS[section, name] is number else "true or false"
    return failed(
        f"{'; '.join(seen)}: nova-compute does not start with that",
        f"give it {kind} in {place(evidence, section, name)}, then restart "
        "nova-compute",
    )


def names(evidence: Evidence, model: MemoryEncryptionModel) -> Judgement:
    """nova-compute says nothing of an option that it does not know."""
    strays = list(_strays(evidence.options))
    if not strays:
        return passed("all that stand there are known")
    return warned(
        "nova-compute does not look at "
        + ", ".join(f"[{option.section}] {option.name}" for option, _ in strays),
        "; ".join(
            f"in {option.path} " + (f"write {meant}" if meant else "take it out")
            for option, meant in strays
        )
        + "; then restart nova-compute",
    )


def _strays(options: Mapping[tuple[str, str], Option]) -> Iterator[tuple[Option, str]]:
    """Yield what nobody reads, and what was meant by it, if that can be told."""
    for (section, name), option in options.items():
        if (section, name) in OPTIONS:
            continue
        if name in _NAMES and section != OURS and _NAMES[name] != section:
            yield option, f"it as [{_NAMES[name]}] {name}"
            continue
        if section == OURS:
            near = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.6)
        else:
            mine = [each for each, where in _NAMES.items() if "encrypted" in each]
            near = difflib.get_close_matches(name, mine, n=1, cutoff=_ALIKE)
        if near:
            yield option, f"it as [{_NAMES[near[0]]}] {near[0]}"
        elif section == OURS:
            yield option, ""


NODES = (
    Node(
        Check(
            "nova.option-values",
            "Values of the driver's options",
            "[sev] and [libvirt] num_memory_encrypted_guests",
        ),
        where_read(values),
        parent=CONF.id,
    ),
    Node(
        Check(
            "nova.option-names",
            "Names of the driver's options",
            "the names in [DEFAULT], [libvirt] and [sev]",
        ),
        where_read(names),
        parent=CONF.id,
    ),
)
