# SPDX-License-Identifier: Apache-2.0

"""What Nova's verdict at nova-compute's start is asked, and when it ends the start."""

from __future__ import annotations

import pytest
from nova import exception as nova_exception
from nova import objects
from nova.conf import CONF
from nova_instances import instance

from sev_driver.compute import nova_compat, startup_check
from sev_driver.compute.foreign_guests import ForeignGuests
from sev_driver.conf import opts
from sev_driver.host.capabilities import HostCapabilities, ModelCapability, ObstacleKind
from sev_driver.model import SEV
from sev_driver.nova_release import NovaRelease

opts.register_opts(CONF)

ASKS = {"hw:mem_encryption": "true"}
PLAIN = instance()
OURS = instance(ASKS, hw_firmware_type="uefi")
TDX = instance(ASKS | {"hw:mem_encryption_model": "intel-tdx"})
WITHOUT_SEV = HostCapabilities((ModelCapability(SEV, ObstacleKind.PARAMETER_OFF, "x"),))


class NovaHost:
    """Nova's libvirt Host of a machine without Intel TDX."""

    supports_intel_tdx = False


@pytest.fixture(autouse=True)
def nova_34(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nova_compat, "installed_release", lambda: NovaRelease(34))


def judge(*instances: objects.Instance) -> list[objects.Instance]:
    """Return the instances that are handed to Nova's verdict."""
    asked: list[objects.Instance] = []
    for each in instances:
        each.deleted = False
    startup_check.check_instances(
        instances, WITHOUT_SEV, ForeignGuests(NovaHost()), asked.extend
    )
    return asked


def test_default_asks_nova_nothing_and_starts() -> None:
    assert judge(PLAIN, OURS, TDX) == []


@pytest.mark.parametrize("lost", [OURS, TDX], ids=["sev", "tdx"])
def test_option_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, lost: objects.Instance
) -> None:
    monkeypatch.setattr(CONF.sev, "require_support_at_start", True, raising=False)
    with pytest.raises(nova_exception.InvalidConfiguration, match="require_support"):
        judge(PLAIN, lost)


def test_unreadable_instance_keeps_nothing_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(_: objects.Instance) -> None:
        raise ValueError("Field value is invalid")

    monkeypatch.setattr(startup_check.guest_request, "request_for", read)
    assert judge(PLAIN, OURS) == []
