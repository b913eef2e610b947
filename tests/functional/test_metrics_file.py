# SPDX-License-Identifier: Apache-2.0


"""The metrics of a compute on real Nova code, as Prometheus' own parser reads them."""

import pathlib
from collections.abc import Iterator
from typing import Any

import nova_cloud
import pytest
from nova.conf import CONF
from nova_cloud import ASKED_BY_FLAVOR, COMPUTE, SLOTS, UEFI, Cloud
from test_audit import redefined
from test_slots_that_are_gone import strangers_guest

from sev_driver.compute import slot_consumers

parser = pytest.importorskip("prometheus_client.parser")

SEV = {"generation": "amd-sev"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("textfile") / "sev.prom"


@pytest.fixture(scope="module")
def shared(file: pathlib.Path) -> Iterator[Cloud]:
    with nova_cloud.cloud(compute=False) as cloud:
        cloud.flags(group="sev", prometheus_textfile=str(file), audit_interval=1)
        cloud.start_compute(COMPUTE)
        yield cloud


def read(file: pathlib.Path, name: str, **labels: str) -> list[float]:
    return [
        sample.value
        for family in parser.text_string_to_metric_families(file.read_text())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def slots(file: pathlib.Path, cloud: Cloud) -> dict[str, float]:
    """Have the host's resources updated, and return its slots of plain SEV."""
    cloud._run_periodics()
    states = ("used", "free", "reserved", "lost")
    found = {s: read(file, "sev_driver_slots", **SEV, state=s) for s in states}
    return {state: value for state, (value,) in found.items() if value}


def test_slots_as_guests_come_and_go(cloud: Cloud, file: pathlib.Path) -> None:
    assert slots(file, cloud) == {"free": SLOTS}
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    assert slots(file, cloud) == {"used": 1, "free": SLOTS - 1}
    # No guest runs now, so that Placement is asked for this alone.
    cloud.act(server, {"os-stop": None}, "SHUTOFF")
    assert slots(file, cloud) == {"used": 1, "free": SLOTS - 1}
    told = "sev_slots generation=amd-sev used=1 free=99 reserved=0 lost=0 model=amd-sev"
    assert cloud.log.count(told) == 1
    stranger = strangers_guest(cloud, COMPUTE)
    assert slots(file, cloud) == {"used": 1, "free": SLOTS - 2, "reserved": 1}
    stranger.destroy()
    cloud.kvm_parameters.sev = False
    assert slots(file, cloud) == {"lost": 1}
    assert read(file, "sev_driver_support", **SEV, support="no") == [1]
    cloud.kvm_parameters.sev = True
    cloud._delete_server(server)
    assert slots(file, cloud) == {"free": SLOTS}


def test_a_refusal_is_counted_by_its_reason(cloud: Cloud, file: pathlib.Path) -> None:
    def refused(reason: str) -> list[float]:
        return read(file, "sev_driver_refusals_total", **SEV, reason=reason)

    cloud._run_periodics()
    assert refused("slot") == [0]
    server = cloud.boot(UEFI, {"sev:model": "amd-sev"}, state="ERROR")
    cloud._run_periodics()
    assert refused("slot") == [1]
    assert refused("pool") == [0]
    line = f"sev_refusal generation=amd-sev reason=slot server={server['id']}"
    assert cloud.log.count(line) == 1
    cloud._delete_server(server)


def test_an_audit_that_fails_is_counted(cloud: Cloud, file: pathlib.Path) -> None:
    assert read(file, "sev_driver_audit_failures_total") == [0]
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    redefined(cloud, server, "launchSecurity", "launchInsecurity")
    cloud.driver._audit.run(COMPUTE)
    cloud._run_periodics()
    assert read(file, "sev_driver_audit_failures_total")[0] >= 1
    assert "sev_audit failures=" in cloud.log
    cloud._delete_server(server)


def test_placement_that_does_not_answer_leaves_no_number(
    cloud: Cloud, file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(*args: Any) -> None:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(slot_consumers.PlacementQueries, "consumers_of", no_answer)
        cloud._run_periodics()
    assert read(file, "sev_driver_slots", **SEV, state="free") == []
    assert read(file, "sev_driver_slots", **SEV, state="lost") == [0]
    assert slots(file, cloud) == {"free": SLOTS}


def test_without_the_option_placement_is_asked_no_more_often_for_it(
    cloud: Cloud, file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    holders = slot_consumers.PlacementQueries.consumers_of

    def count(this: slot_consumers.PlacementQueries, provider: str) -> frozenset[str]:
        asked.append(provider)
        return holders(this, provider)

    monkeypatch.setattr(slot_consumers.PlacementQueries, "consumers_of", count)
    cloud._run_periodics()
    assert asked == [cloud.providers()[f"{COMPUTE}_amd_sev"]]
    asked.clear()
    CONF.set_override("prometheus_textfile", None, group="sev")
    cloud.restart()
    file.unlink()
    cloud._run_periodics()
    assert not asked
    assert not file.exists()
    assert "used=unknown free=unknown" in cloud.log
