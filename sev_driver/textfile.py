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

"""The metrics as a file that node_exporter's textfile collector reads."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sev_driver.metrics import Metric

if TYPE_CHECKING:
    import prometheus_client

#: In setup.cfg's extra "metrics": a host that writes no metrics does without it.
LIBRARY = "prometheus_client"


OPTION = "[sev] prometheus_textfile"


def library_is_there() -> bool:
    return importlib.util.find_spec(LIBRARY) is not None


def no_library(path: str) -> str:
    return (
        f"{OPTION} is {path}, but {LIBRARY} is not installed where nova-compute runs: "
        f"no metrics are written. Install it there, and restart nova-compute."
    )


def misnamed(path: str) -> str | None:
    """Return what is wrong with the name, None if nothing is."""
    if path.endswith(".prom"):
        return None
    return (
        f"{OPTION} is {path}, but node_exporter reads only files whose name ends with "
        f".prom: name it so."
    )


def not_written(path: str, error: Exception) -> str:
    # Not its own text, in which the name of a file for the moment changes each time.
    why = getattr(error, "strerror", None) or error
    return (
        f"{OPTION}: {path} cannot be written: {why}. Its folder must be there, and be "
        f"nova-compute's to write to. It is tried again with each update."
    )


def write(path: str, metrics: Iterable[Metric]) -> None:
    """Write ``path`` anew, in one step: who reads it meanwhile sees it whole.

    :raises OSError: it cannot be written.
    :raises ImportError: prometheus_client is not installed.
    """
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    registry.register(_Collector(metrics))
    prometheus_client.write_to_textfile(path, registry)


class _Collector:
    """What prometheus_client asks for metrics."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[prometheus_client.Metric]:
        from prometheus_client import core

        for metric in self._metrics:
            kind = "counter" if metric.counter else "gauge"
            # It puts a counter's ending there by itself.
            name = metric.name.removesuffix("_total")
            family = core.Metric(name, metric.help, kind)
            for sample in metric.samples:
                labels = dict(zip(metric.labels, sample.labels))
                family.add_sample(metric.name, labels, sample.value)
            yield family
