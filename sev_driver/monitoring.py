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

"""Tells monitoring what is measured: in the log, and in a file for Prometheus."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from nova.conf import CONF
from oslo_log import log as logging

from sev_driver import metrics, releases, textfile
from sev_driver.audit import Audit
from sev_driver.capabilities import HostCapabilities
from sev_driver.model import MemoryEncryptionModel
from sev_driver.refusal_counts import Refusals
from sev_driver.slot_usage import SlotUsage

LOG = logging.getLogger(__name__)


class Monitoring:
    """:param audit: and ``refusals``: who counts what."""

    def __init__(self, refusals: Refusals, audit: Audit) -> None:
        self._refusals = refusals
        self._audit = audit
        self._path = _usable(CONF.sev.prometheus_textfile)
        self._said: dict[MemoryEncryptionModel, str] = {}
        self._failures = 0
        self._fault: str | None = None

    @property
    def wants_all(self) -> bool:
        """Whether a number is worth a question to Placement."""
        return self._path is not None

    def report(
        self,
        host: HostCapabilities,
        slots: Mapping[MemoryEncryptionModel, SlotUsage],
    ) -> None:
        """Tell of one update; never raises, whatever becomes of the file."""
        for model, usage in slots.items():
            line = metrics.slots_line(model, usage)
            nothing = usage == SlotUsage() and model not in self._said
            if self._said.get(model) != line and not nothing:
                self._said[model] = line
                LOG.info(line)
        if self._audit.failures != self._failures:
            self._failures = self._audit.failures
            LOG.info(metrics.audit_line(self._failures))
        if self._path is not None:
            self._write(self._path, host, slots)

    def _write(
        self,
        path: str,
        host: HostCapabilities,
        slots: Mapping[MemoryEncryptionModel, SlotUsage],
    ) -> None:
        fault = None
        try:
            now = metrics.Snapshot(
                host,
                slots,
                self._refusals.counts(),
                self._audit.failures,
                importlib.metadata.version("sev_driver"),
                releases.nova_release(),
            )
            textfile.write(path, metrics.collect(now))
        except Exception as error:
            fault = textfile.not_written(path, error)
        if fault == self._fault:
            return
        self._fault = fault
        if fault is None:
            LOG.info("%s: %s is written again.", textfile.OPTION, path)
        else:
            LOG.warning(fault)


def _usable(path: str | None) -> str | None:
    """Return the path if metrics can be written; say why not, if they cannot."""
    if not path:
        return None
    if not textfile.library_is_there():
        LOG.warning(textfile.no_library(path))
        return None
    misnamed = textfile.misnamed(path)
    if misnamed is not None:
        LOG.warning(misnamed)
    return path
