# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch: whether its vhost-user ports offer the IOMMU."""

import json
import pathlib

import pytest
from nova_evidence import evidence

from sev_driver.doctor.findings import Verdict
from sev_driver.doctor.host import parsers, programs, readers
from sev_driver.doctor.host.checks import network
from sev_driver.doctor.host.evidence import Fact
from sev_driver.exceptions import DetectionError
from sev_driver.host import files
from sev_driver.model import SEV


def listed(*settings: tuple[str, str]) -> str:
    """Return what ``ovs-vsctl --format=json list`` prints."""
    data = [[["map", [list(setting) for setting in settings]]]]
    return json.dumps({"data": data, "headings": ["other_config"]})


DPDK, IOMMU = ("dpdk-init", "true"), ("vhost-iommu-support", "true")


@pytest.mark.parametrize(
    ("switch", "verdict", "said"),
    [
        (Fact(), Verdict.SKIP, "no ovs-vsctl"),
        (Fact(unknown="it does not answer"), Verdict.SKIP, "it does not answer"),
        (Fact({}), Verdict.PASS, "no DPDK"),
        (Fact({"dpdk-init": "try"}), Verdict.WARN, "vhost-iommu-support is not true"),
        (Fact(dict([DPDK])), Verdict.WARN, "vhost-iommu-support is not true"),
        (Fact(dict([DPDK, IOMMU])), Verdict.PASS, "vhost-iommu-support is true"),
    ],
)
def test_vhost_iommu(switch: Fact[dict[str, str]], verdict: Verdict, said: str) -> None:
    outcome = network.vhost_iommu(evidence(open_vswitch=switch), SEV)
    assert outcome.verdict is verdict
    assert said in outcome.seen
    assert bool(outcome.remedy) == (verdict is Verdict.WARN)


def test_settings_are_read_from_what_ovs_vsctl_prints() -> None:
    text = listed(DPDK, IOMMU, ("pmd-cpu-mask", "0x6"))
    assert parsers.open_vswitch(text) == dict([DPDK, IOMMU])
    assert parsers.open_vswitch(listed()) == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"data": []}', '{"data": [[["set", []]]]}', listed(DPDK)[:-1]],
)
def test_text_that_ovs_vsctl_does_not_print_is_unknown(text: str) -> None:
    with pytest.raises(DetectionError):
        parsers.open_vswitch(text)


def fake_ovs_vsctl(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program = folder / "ovs-vsctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(programs, "SYSTEM_PATH", str(folder))


def test_ovs_vsctl_is_asked(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = listed(DPDK, ("other", "kept by nobody"))
    fake_ovs_vsctl(tmp_path, monkeypatch, f"echo '{answer}'")
    kept = readers.fact(lambda: readers.open_vswitch(files.LOCAL))
    assert kept == Fact(dict([DPDK]))


def test_ovs_vsctl_that_fails_says_why(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ovs_vsctl(tmp_path, monkeypatch, "echo db.sock: no >&2; exit 1")
    kept = readers.fact(lambda: readers.open_vswitch(files.LOCAL))
    assert kept == Fact(unknown="db.sock: no")


def test_host_without_ovs_vsctl_has_none(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SYSTEM_PATH", str(tmp_path))
    assert readers.fact(lambda: readers.open_vswitch(files.LOCAL)).absent
