# SPDX-License-Identifier: Apache-2.0


"""monitoring: what is told of an update, and how often."""

import logging
import pathlib
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from host_facts import EVERYTHING
from nova.conf import CONF

from sev_driver.compute.errors import ErrorTranslator
from sev_driver.compute.metrics_reporter import MetricsReporter
from sev_driver.conf import opts
from sev_driver.host.detection import detect
from sev_driver.model import MemoryEncryptionModel
from sev_driver.observability import textfile
from sev_driver.placement.inventory import SlotUsage

opts.register_opts(CONF)
HOST = detect(EVERYTHING)
SEV = MemoryEncryptionModel.AMD_SEV
IDLE = dict.fromkeys(MemoryEncryptionModel, SlotUsage())
THREE_USED = {**IDLE, SEV: SlotUsage(3, 12)}

Made = Callable[..., MetricsReporter]


@pytest.fixture
def made(caplog: pytest.LogCaptureFixture) -> Iterator[Made]:
    """Make one that writes to a path, or to none."""
    caplog.set_level(logging.INFO)

    def make(path: object = None, audit: Any = None) -> MetricsReporter:
        text = None if path is None else str(path)
        CONF.set_override("prometheus_textfile", text, group="sev")
        return MetricsReporter(ErrorTranslator(), audit or SimpleNamespace(failures=0))

    yield make
    CONF.clear_override("prometheus_textfile", group="sev")


def test_slots_are_told_when_they_change(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    monitoring = made()
    for slots in (IDLE, IDLE, THREE_USED, THREE_USED, IDLE):
        monitoring.report(HOST, slots)
    assert caplog.messages == [
        "sev_slots generation=amd-sev used=3 free=12 reserved=0 lost=0 model=amd-sev",
        "sev_slots generation=amd-sev used=0 free=0 reserved=0 lost=0 model=amd-sev",
    ]


def test_audit_failures_are_told_when_there_are_more(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    audit = SimpleNamespace(failures=0)
    monitoring = made(audit=audit)
    for failures in (0, 1, 1, 3):
        audit.failures = failures
        monitoring.report(HOST, IDLE)
    assert caplog.messages == ["sev_audit failures=1", "sev_audit failures=3"]


def test_without_the_option_placement_is_not_asked(made: Made) -> None:
    assert not made().needs_all


def test_the_file_is_written_with_each_update(
    made: Made, tmp_path: pathlib.Path
) -> None:
    pytest.importorskip("prometheus_client")
    path = tmp_path / "sev.prom"
    monitoring = made(path)
    assert monitoring.needs_all
    monitoring.report(HOST, THREE_USED)
    sample = 'sev_driver_slots{generation="amd-sev",model="amd-sev",state="used"}'
    assert f"{sample} 3.0" in path.read_text()
    monitoring.report(HOST, IDLE)
    assert f"{sample} 0.0" in path.read_text()


def test_a_file_that_cannot_be_written_is_told_once(
    made: Made, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("prometheus_client")
    folder = tmp_path / "later"
    path = folder / "sev.prom"
    monitoring = made(path)

    for _ in range(3):
        monitoring.report(HOST, IDLE)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert f"{path} cannot be written: No such file or directory" in caplog.text

    folder.mkdir()
    path.mkdir()
    monitoring.report(HOST, IDLE)
    assert f"{path} cannot be written: Is a directory" in caplog.messages[-1]

    path.rmdir()
    monitoring.report(HOST, IDLE)
    monitoring.report(HOST, IDLE)
    assert "written again" in caplog.messages[-1]
    assert len(caplog.messages) == 3
    assert list(folder.iterdir()) == [path]


def test_a_host_without_the_library_is_told_at_start(
    made: Made,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    path = tmp_path / "sev.prom"
    monitoring = made(path)
    for _ in range(3):
        monitoring.report(HOST, IDLE)
    assert caplog.messages == [textfile.no_library(str(path))]
    assert not monitoring.needs_all
    assert not path.exists()
