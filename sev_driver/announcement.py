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

"""What nova-compute's log says of the host at start, and when it changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sev_driver import inventory, memory
from sev_driver.capabilities import (
    HostCapabilities,
    ModelCapability,
    Obstacle,
    Support,
)
from sev_driver.model import SEV, SEV_ES, MemoryEncryptionModel

_SWITCHED_OFF = (Obstacle.PARAMETER_OFF, Obstacle.PARAMETER_MISSING)

#: SEV-SNP's pages stay where they are by other means.
_PINNING = (SEV, SEV_ES)


def lines(
    host: HostCapabilities, caps: inventory.Caps, ram: memory.HostMemory
) -> Iterator[tuple[int, str]]:
    """Yield log level and text.

    :param caps: the operator's limits.
    """
    offer = inventory.offers(host, caps)
    for model, capability in host.items():
        remedy = f"; {capability.remedy}" if capability.remedy else ""
        yield _level(capability, host), f"{capability}{remedy}."
        if capability.supported:
            yield from _slots(model, offer[model])
    pinning = [model for model in host if model in _PINNING and host[model].supported]
    if pinning:
        yield from _memory(sum(offer[model].total for model in pinning), ram)


def _level(capability: ModelCapability, host: HostCapabilities) -> int:
    """Return how loud a verdict is: one cause is told once, and no choice twice."""
    if capability.model is not SEV and not capability.supported:
        base = host.get(SEV)
        if base is not None and base.reason == capability.reason:
            return logging.DEBUG  # what keeps SEV off keeps all of them off
        if capability.obstacle in _SWITCHED_OFF:
            return logging.DEBUG
    unknown = capability.support is Support.UNKNOWN
    return logging.ERROR if unknown else logging.INFO


def _slots(
    model: MemoryEncryptionModel, slots: inventory.Slots
) -> Iterator[tuple[int, str]]:
    if slots.warning:
        yield logging.WARNING, slots.warning
    count = "unlimited" if slots.total == inventory.UNLIMITED else slots.total
    text = f"{model.title}: {count} slots offered to Placement ({slots.source})"
    yield logging.INFO, text


def _memory(total: int, ram: memory.HostMemory) -> Iterator[tuple[int, str]]:
    each = (
        f"{memory.spec_overhead_mib()} MiB (AMD SEV spec) to {memory.LIBVIRT_MIB} MiB"
    )
    text = f"Encrypted guests pin their RAM and {each} (libvirt's advice) each"
    if 0 < total < inventory.UNLIMITED:
        advice = memory.advise(total)
        # What guests pin counts within the slice, and only the operator knows what
        # the host itself needs: there is no number to give for its limit.
        text += (
            f"; for {advice.guests} of them set [DEFAULT] reserved_host_memory_mb to "
            f"the host's own need and {advice.at_least_mib} to {advice.with_ease_mib} "
            f"more (it is set to {ram.reserved_mib} now), or limit /machine.slice to "
            f"the host's {ram.total_mib} MiB less its own need"
        )
    yield logging.INFO, text + "."
    if ram.ratio is not None and ram.ratio > 1.0:
        yield (
            logging.WARNING,
            f"[DEFAULT] ram_allocation_ratio is {ram.ratio}, but encrypted guests pin "
            f"their memory, which cannot be overcommitted: set it to 1.0 on this host.",
        )
