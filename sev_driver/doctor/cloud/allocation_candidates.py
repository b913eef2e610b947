# SPDX-License-Identifier: Apache-2.0

"""What Nova's scheduler asks Placement for, from a flavor and an image.

As nova/scheduler/utils.py (ResourceRequest) and request_filter.py of Nova 27 to 34
do, less what is not in flavor and image: ports, aggregates, server groups.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping

from sev_driver.doctor.cloud.facts import Flavor
from sev_driver.guest import model_selection, request
from sev_driver.model import MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease
from sev_driver.placement.allocations import SLOT

#: The microversion that Nova asks with.
MICROVERSION = "1.36"

_KEY = re.compile(r"(resources|trait)([a-zA-Z0-9_-]{1,64})?:(.*)")

#: Nova makes more of these than is made here.
_LEFT_OUT = (
    "hw:pmem",
    "hw:tpm_version",
    "hw:maxphysaddr_mode",
    "accel:device_profile",
    # Not of Placement, but by the filter of NUMA topologies: free huge pages, say.
    "hw:mem_page_size",
    "hw:numa_nodes",
)


@dataclasses.dataclass
class Group:
    """Resources from providers of one host; with a suffix, from one provider."""

    resources: dict[str, int] = dataclasses.field(default_factory=dict)
    required: set[str] = dataclasses.field(default_factory=set)
    forbidden: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class Query:
    """A request for allocation candidates; the group without a suffix is ``""``."""

    groups: dict[str, Group]
    policy: str | None = None

    def parameters(self) -> dict[str, str]:
        """Return what to put behind ``/allocation_candidates?``."""
        found = {"root_required": "!COMPUTE_STATUS_DISABLED"}
        if self.policy is not None:
            found["group_policy"] = self.policy
        for suffix, group in self.groups.items():
            resources = sorted(f"{name}:{n}" for name, n in group.resources.items())
            if resources:
                found[f"resources{suffix}"] = ",".join(resources)
            traits = sorted(group.required) + [f"!{t}" for t in sorted(group.forbidden)]
            if traits:
                found[f"required{suffix}"] = ",".join(traits)
        return found

    def resources(self) -> dict[str, int]:
        """Return the sum of each resource over all groups."""
        found: dict[str, int] = {}
        for group in self.groups.values():
            for name, amount in group.resources.items():
                found[name] = found.get(name, 0) + amount
        return found

    def required(self) -> set[str]:
        return set().union(*(group.required for group in self.groups.values()))


def query(flavor: Flavor, image: request.ImageProperties, nova: int) -> Query:
    """Return what Nova's release ``nova`` asks for.

    :raises ValueError: an amount in the flavor is no number.
    """
    result = Query({}, flavor.extra_specs.get("group_policy"))
    _add_keys(result, flavor.extra_specs)
    own = _group(result, "")
    for key, value in image.properties.items():
        if key.startswith("trait:") and value == "required":
            own.required.add(key.removeprefix("trait:"))
    pinned = flavor.extra_specs.get("hw:cpu_policy") == "dedicated" or (
        image.properties.get("hw_cpu_policy") == "dedicated"
    )
    asks = result.resources()
    if pinned and "PCPU" not in asks:
        own.resources["PCPU"] = flavor.vcpus
    elif not {"VCPU", "PCPU"} & set(asks):
        own.resources["VCPU"] = flavor.vcpus
    own.resources.update(
        (name, amount)
        for name, amount in (("MEMORY_MB", flavor.ram), ("DISK_GB", _disk(flavor)))
        if name not in asks
    )
    _add_encryption(own, flavor, image, nova)
    own.required.update(_traits_of_firmware(flavor, image, nova))
    for group in result.groups.values():
        group.resources = {n: amount for n, amount in group.resources.items() if amount}
    return result


def left_out(flavor: Flavor) -> tuple[str, ...]:
    """Return the flavor's keys of which Nova asks more than :func:`query` does."""
    keys = [key for key in _LEFT_OUT if key in flavor.extra_specs]
    if flavor.extra_specs.get("hw:cpu_policy") == "mixed":
        keys.append("hw:cpu_policy")
    return tuple(keys)


def _group(result: Query, suffix: str) -> Group:
    return result.groups.setdefault(suffix, Group())


def _add_keys(result: Query, extra_specs: Mapping[str, str]) -> None:
    for key, value in extra_specs.items():
        match = _KEY.fullmatch(key)
        if match is None:
            continue
        group = _group(result, match[2] or "")
        if match[1] == "resources":
            group.resources[match[3]] = int(value)
        elif value == "required":
            group.required.add(match[3])
        elif value == "forbidden":
            group.forbidden.add(match[3])


def _disk(flavor: Flavor) -> int:
    return flavor.disk + flavor.ephemeral + -(-flavor.swap // 1024)


def _add_encryption(
    group: Group, flavor: Flavor, image: request.ImageProperties, nova: int
) -> None:
    if not request.is_true(flavor.extra_specs.get(model_selection.FLAVOR_KEY)) and not (
        request.is_true(image.properties.get(model_selection.IMAGE_KEY))
    ):
        return
    group.resources[SLOT] = 1
    if not NovaRelease(nova).scheduler_chooses_model:
        return
    named = (
        image.properties.get("hw_mem_encryption_model")
        or flavor.extra_specs.get(model_selection.NOVA_MODEL_KEY)
        or MemoryEncryptionModel.AMD_SEV.value
    )
    if named in {model.value for model in MemoryEncryptionModel}:
        group.required.add(MemoryEncryptionModel(named).trait)


def _traits_of_firmware(
    flavor: Flavor, image: request.ImageProperties, nova: int
) -> Iterator[str]:
    secure_boot = flavor.extra_specs.get("os:secure_boot") or image.properties.get(
        "os_secure_boot"
    )
    if secure_boot == "required":
        yield "COMPUTE_SECURITY_UEFI_SECURE_BOOT"
    stateless = request.is_true(image.properties.get("hw_firmware_stateless"))
    if stateless and NovaRelease(nova).requires_stateless_firmware_trait:
        yield "COMPUTE_SECURITY_STATELESS_FIRMWARE"
