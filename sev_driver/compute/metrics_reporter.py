# SPDX-License-Identifier: Apache-2.0

"""Write the metrics of each update to the log, and to a file for Prometheus."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from nova.conf import CONF
from oslo_log import log as logging

from sev_driver.compute import nova_compat
from sev_driver.compute.audit import Audit
from sev_driver.compute.errors import ErrorTranslator
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.model import MemoryEncryptionModel
from sev_driver.observability import metrics, textfile
from sev_driver.placement.inventory import SlotUsage

LOG = logging.getLogger(__name__)


class MetricsReporter:
    """Writes changed metrics to the log, and all metrics to the textfile.

    :param errors: the source of the number of refusals.
    :param audit: the source of the number of guests that run in the clear.
    """

    def __init__(self, errors: ErrorTranslator, audit: Audit) -> None:
        self._errors = errors
        self._audit = audit
        self._path = _usable(CONF.sev.prometheus_textfile)
        self._logged: dict[MemoryEncryptionModel, SlotUsage] = {}
        self._failures = 0
        self._fault: str | None = None

    @property
    def needs_all(self) -> bool:
        """True if Placement should be queried for numbers that the update lacks."""
        return self._path is not None

    def report(
        self,
        host: HostCapabilities,
        slots: Mapping[MemoryEncryptionModel, SlotUsage],
    ) -> None:
        """Write the metrics of one update; never raise."""
        for model, usage in slots.items():
            if self._logged.get(model, SlotUsage()) != usage:
                self._logged[model] = usage
                LOG.info(metrics.slots_line(model, usage))
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
            now = metrics.MetricsSnapshot(
                host,
                slots,
                self._errors.counts(),
                self._audit.failures,
                importlib.metadata.version("sev_driver"),
                nova_compat.installed_release().number,
            )
            textfile.write(path, metrics.collect(now))
        except Exception as error:
            fault = textfile.not_written(path, error)
        if fault == self._fault:
            return
        self._fault = fault
        if fault is None:
            LOG.info("%s: %s can be written again.", textfile.OPTION, path)
        else:
            LOG.warning(fault)


def _usable(path: str | None) -> str | None:
    """Return the path if metrics can be written, else None with a warning."""
    if not path:
        return None
    if not textfile.library_is_installed():
        LOG.warning(textfile.no_library(path))
        return None
    misnamed = textfile.misnamed(path)
    if misnamed is not None:
        LOG.warning(misnamed)
    return path
