# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging

import pytest
from nova import objects
from nova_instances import instance

from sev_driver.compute import build_warnings, nova_compat
from sev_driver.nova_release import NovaRelease


@pytest.fixture(params=[31, 34])
def nova(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    release: int = request.param
    found = NovaRelease(release)
    monkeypatch.setattr(nova_compat, "installed_release", lambda: found)
    return release


def logged(
    guest: objects.Instance, caplog: pytest.LogCaptureFixture
) -> list[tuple[int, str]]:
    with caplog.at_level(logging.INFO):
        build_warnings.warn(guest)
    return [(record.levelno, record.getMessage()) for record in caplog.records]


def test_model_that_another_nova_cannot_read(
    nova: int, caplog: pytest.LogCaptureFixture
) -> None:
    ((level, words),) = logged(instance(hw_mem_encryption_model="amd-sev-snp"), caplog)
    assert level == (logging.WARNING if nova == 31 else logging.INFO)
    assert "cannot be read by Nova 32 and 33" in words


@pytest.mark.parametrize("value", ["amd-sev", "amd-sev-es"])
@pytest.mark.usefixtures("nova")
def test_model_that_every_nova_reads(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert not logged(instance(hw_mem_encryption_model=value), caplog)


@pytest.mark.usefixtures("nova")
def test_misspelt_keys_are_named_also_of_a_plain_guest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guest = instance({"hw:mem_encyption": "true"}, hw_mem_encryption="ture")
    found = logged(guest, caplog)
    assert [level for level, _ in found] == [logging.WARNING] * 2
    assert "hw:mem_encyption=true of flavor m1.sev has no effect" in found[0][1]
    assert "hw_mem_encryption=ture of image" in found[1][1]


def test_nothing_keeps_a_guest_from_its_build() -> None:
    build_warnings.warn(None)
