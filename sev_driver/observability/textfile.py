# SPDX-License-Identifier: Apache-2.0

"""Write the metrics to a file for node_exporter's textfile collector."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sev_driver.observability.metrics import Metric

if TYPE_CHECKING:
    import prometheus_client

#: From setup.cfg's extra "metrics": not required on hosts without this option.
LIBRARY = "prometheus_client"

OPTION = "[sev] prometheus_textfile"


def library_is_installed() -> bool:
    return importlib.util.find_spec(LIBRARY) is not None


def no_library(path: str) -> str:
    """Return the warning that the library is missing."""
    return (
        f"{OPTION} is {path}, but {LIBRARY} is not installed where nova-compute runs. "
        f"No metrics are written. Install it there, and restart nova-compute."
    )


def misnamed(path: str) -> str | None:
    """Return the warning if the file's name is wrong, else None."""
    if path.endswith(".prom"):
        return None
    return (
        f"{OPTION} is {path}, but node_exporter reads only files whose name ends with "
        f".prom. Rename it."
    )


def not_written(path: str, error: Exception) -> str:
    """Return the warning that the file cannot be written."""
    # The error's text has the name of a temporary file, which always differs.
    why = getattr(error, "strerror", None) or error
    return (
        f"{OPTION}: {path} cannot be written: {why}. Its directory must exist, and "
        f"nova-compute's user must be able to write to it. Each update tries again."
    )


def write(path: str, metrics: Iterable[Metric]) -> None:
    """Replace ``path`` atomically.

    :raises OSError: the file cannot be written.
    :raises ImportError: prometheus_client is not installed.
    """
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    registry.register(_Collector(metrics))
    prometheus_client.write_to_textfile(path, registry)


class _Collector:
    """A collector of prometheus_client."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[prometheus_client.Metric]:
        from prometheus_client import core

        for metric in self._metrics:
            kind = "counter" if metric.counter else "gauge"
            # prometheus_client appends the suffix of a counter itself.
            name = metric.name.removesuffix("_total")
            family = core.Metric(name, metric.help, kind)
            for sample in metric.samples:
                labels = dict(zip(metric.labels, sample.labels))
                family.add_sample(metric.name, labels, sample.value)
            yield family
