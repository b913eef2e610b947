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

"""What is measured, as metrics in Prometheus' terms and as lines for the log."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from sev_driver.capabilities import HostCapabilities, Support
from sev_driver.model import MemoryEncryptionModel
from sev_driver.refusal_reasons import REASONS, Refusal
from sev_driver.slot_usage import SlotUsage

#: In a line for the log and in a label, what is not known.
UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """All that is measured, at the end of an update.

    ``refusals`` and ``audit_failures`` are counted from nova-compute's start.
    """

    host: HostCapabilities
    slots: Mapping[MemoryEncryptionModel, SlotUsage]
    refusals: Mapping[Refusal, int]
    audit_failures: int
    version: str
    nova_release: int


@dataclasses.dataclass(frozen=True)
class Sample:
    """One value; ``labels`` are in the order of their metric's."""

    labels: tuple[str, ...]
    value: int


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as Prometheus names it; that of a counter ends with ``_total``."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]

    @property
    def counter(self) -> bool:
        return self.name.endswith("_total")


def collect(now: Snapshot) -> tuple[Metric, ...]:
    """Return every metric; a value that is not known has no sample."""
    return (
        Metric(
            "sev_driver_slots",
            "Slots for encryption keys, by what has become of them.",
            ("generation", "state"),
            tuple(_slots(now.slots)),
        ),
        Metric(
            "sev_driver_support",
            "1 for what is concluded of a generation on this host, 0 for the rest.",
            ("generation", "support"),
            tuple(_support(now.host)),
        ),
        Metric(
            "sev_driver_refusals_total",
            "What was refused to guests since nova-compute started.",
            ("generation", "reason"),
            tuple(_refusals(now.refusals)),
        ),
        Metric(
            "sev_driver_audit_failures_total",
            "Guests that an audit has found running in the clear that asked for "
            "encryption, since nova-compute started.",
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
                yield Sample((model.value, state), number)


def _support(host: HostCapabilities) -> Iterator[Sample]:
    for model, capability in host.items():
        for support in Support:
            found = capability.support is support
            yield Sample((model.value, support.value), int(found))


def _refusals(counts: Mapping[Refusal, int]) -> Iterator[Sample]:
    # Also those that are 0: an increase from nothing would go unseen.
    every = {
        Refusal(reason, model): 0
        for model in MemoryEncryptionModel
        for reason in REASONS
    }
    for refusal, number in {**every, **counts}.items():
        yield Sample((_generation(refusal.model), refusal.reason), number)


def _generation(model: MemoryEncryptionModel | None) -> str:
    return UNKNOWN if model is None else model.value


def slots_line(model: MemoryEncryptionModel, usage: SlotUsage) -> str:
    """Return one line for the log, for a machine to read."""
    numbers = {
        state: UNKNOWN if number is None else number
        for state, number in dataclasses.asdict(usage).items()
    }
    return _line("sev_slots", generation=model.value, **numbers)


def refusal_line(refusal: Refusal, server: str) -> str:
    """Return one line for the log, for a machine to read."""
    return _line(
        "sev_refusal",
        generation=_generation(refusal.model),
        reason=refusal.reason,
        server=server,
    )


def audit_line(failures: int) -> str:
    """Return one line for the log, for a machine to read."""
    return _line("sev_audit", failures=failures)


def _line(event: str, **fields: str | int) -> str:
    return " ".join([event, *(f"{key}={value}" for key, value in fields.items())])
