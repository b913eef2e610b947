# SPDX-License-Identifier: Apache-2.0

"""The metrics for Prometheus, and the log lines with their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from sev_driver.host.capabilities import HostCapabilities, Support
from sev_driver.model import AnyModel, MemoryEncryptionModel
from sev_driver.observability.refusal_reasons import REASONS, Refusal
from sev_driver.placement.inventory import SlotUsage

#: An unknown value, in log lines and labels.
UNKNOWN = "unknown"

#: ``generation`` is the old name of ``model``, kept for one release.
_MODEL_LABELS = ("model", "generation")


@dataclasses.dataclass(frozen=True)
class MetricsSnapshot:
    """All values after an update of the host's resources.

    ``refusals`` and ``audit_failures`` are counted since nova-compute started.
    """

    host: HostCapabilities
    slots: Mapping[MemoryEncryptionModel, SlotUsage]
    refusals: Mapping[Refusal, int]
    audit_failures: int
    version: str
    nova_release: int


@dataclasses.dataclass(frozen=True)
class Sample:
    """One value, with the values of its metric's labels in the same order."""

    labels: tuple[str, ...]
    value: int


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of Prometheus. The name of a counter ends with ``_total``."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]

    @property
    def counter(self) -> bool:
        return self.name.endswith("_total")


def collect(now: MetricsSnapshot) -> tuple[Metric, ...]:
    """Return all metrics. An unknown value has no sample."""
    return (
        Metric(
            "sev_driver_slots",
            "Slots for encryption keys, by how they are used.",
            (*_MODEL_LABELS, "state"),
            tuple(_slots(now.slots)),
        ),
        Metric(
            "sev_driver_support",
            "1 for the support of a model on this host, 0 for the other values.",
            (*_MODEL_LABELS, "support"),
            tuple(_support(now.host)),
        ),
        Metric(
            "sev_driver_refusals_total",
            "Refusals since nova-compute started, by their reason.",
            (*_MODEL_LABELS, "reason"),
            tuple(_refusals(now.refusals)),
        ),
        Metric(
            "sev_driver_audit_failures_total",
            "Guests that ask for encryption and that an audit found without it, since "
            "nova-compute started.",
            (),
            (Sample((), now.audit_failures),),
        ),
        Metric(
            "sev_driver_build_info",
            "Always 1; the versions are in the labels.",
            ("version", "nova"),
            (Sample((now.version, str(now.nova_release)), 1),),
        ),
    )


def _slots(slots: Mapping[MemoryEncryptionModel, SlotUsage]) -> Iterator[Sample]:
    for model, usage in slots.items():
        for state, number in dataclasses.asdict(usage).items():
            if number is not None:
                yield Sample((model.value, model.value, state), number)


def _support(host: HostCapabilities) -> Iterator[Sample]:
    for model, capability in host.items():
        for support in Support:
            found = capability.support is support
            yield Sample((model.value, model.value, support.value), int(found))


def _refusals(counts: Mapping[Refusal, int]) -> Iterator[Sample]:
    # Zeros are included: Prometheus sees no increase when a sample first appears.
    every = {
        Refusal(reason, model): 0
        for model in MemoryEncryptionModel
        for reason in REASONS
    }
    for refusal, number in {**every, **counts}.items():
        name = _name(refusal.model)
        yield Sample((name, name, refusal.reason), number)


def _name(model: AnyModel | None) -> str:
    return UNKNOWN if model is None else model.value


def slots_line(model: MemoryEncryptionModel, usage: SlotUsage) -> str:
    """Return a machine-readable log line with the slots of a model."""
    numbers = {
        state: UNKNOWN if number is None else number
        for state, number in dataclasses.asdict(usage).items()
    }
    return _line("sev_slots", generation=model.value, **numbers, model=model.value)


def refusal_line(refusal: Refusal, server: str) -> str:
    """Return a machine-readable log line about a refusal."""
    return _line(
        "sev_refusal",
        generation=_name(refusal.model),
        reason=refusal.reason,
        server=server,
        model=_name(refusal.model),
    )


def audit_line(failures: int) -> str:
    """Return a machine-readable log line about failed audits."""
    return _line("sev_audit", failures=failures)


def _line(event: str, **fields: str | int) -> str:
    return " ".join([event, *(f"{key}={value}" for key, value in fields.items())])
