# SPDX-License-Identifier: Apache-2.0

"""Log lines about the models and slots of the host, at startup and on each change."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sev_driver.host import memory
from sev_driver.host.capabilities import (
    HostCapabilities,
    ModelCapability,
    ObstacleKind,
    Support,
)
from sev_driver.model import SEV, SEV_ES, MemoryEncryptionModel
from sev_driver.placement import inventory

#: What was chosen, or bought: of models other than plain SEV it is no news.
_NO_NEWS = (
    ObstacleKind.PARAMETER_OFF,
    ObstacleKind.PARAMETER_MISSING,
    ObstacleKind.SWITCHED_OFF,
    ObstacleKind.PROCESSOR_WITHOUT_SNP,
)

#: Models whose pages KVM pins; the pages of SEV-SNP are in guest_memfd.
_PINNING = (SEV, SEV_ES)


def lines(
    host: HostCapabilities, limits: inventory.SlotLimits, ram: memory.HostMemory
) -> Iterator[tuple[int, str]]:
    """Yield the level and text of each log line.

    :param limits: the operator's limits, by model.
    :param ram: the host's memory in MiB.
    """
    offer = inventory.compute_offers(host, limits)
    for model, capability in host.items():
        remedy = f"; {capability.remedy}" if capability.remedy else ""
        yield _level(capability, host), f"{capability}{remedy}."
        if capability.warning:
            yield logging.WARNING, f"{model.title}: {capability.warning}"
        if capability.supported:
            yield from _slots(model, offer[model])
    pinning = [model for model in host if model in _PINNING and host[model].supported]
    if pinning:
        yield from _memory(sum(offer[model].total for model in pinning), ram)


def _level(capability: ModelCapability, host: HostCapabilities) -> int:
    """Return the log level of a model's line.

    DEBUG for a cause that is logged for another model already, for a disabled model,
    and for one that the processor does not have.
    """
    if capability.model is not SEV and not capability.supported:
        models = list(host)
        earlier = models[: models.index(capability.model)]
        if any(host[model].reason == capability.reason for model in earlier):
            return logging.DEBUG
        if capability.obstacle in _NO_NEWS:
            return logging.DEBUG
    unknown = capability.support is Support.UNKNOWN
    return logging.ERROR if unknown else logging.INFO


def _slots(
    model: MemoryEncryptionModel, slots: inventory.SlotOffer
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
    text = f"Each encrypted guest pins its RAM and {each} (libvirt's advice)"
    if 0 < total < inventory.UNLIMITED:
        advice = memory.advise(total)
        # Pinned memory counts towards the slice's limit. The limit cannot be computed
        # here, because only the operator knows how much the host itself needs.
        text += (
            f"; for {advice.guests} guests set [DEFAULT] reserved_host_memory_mb to "
            f"the memory the host itself needs plus {advice.minimum_mib} to "
            f"{advice.recommended_mib} (it is {ram.reserved_mib} now), or limit "
            f"/machine.slice to the host's {ram.total_mib} MiB minus that memory"
        )
    yield logging.INFO, text + "."
    if ram.ratio is not None and ram.ratio > 1.0:
        yield (
            logging.WARNING,
            f"[DEFAULT] ram_allocation_ratio is {ram.ratio}, but the memory of "
            f"encrypted guests cannot be overcommitted: set it to 1.0 on this host.",
        )
