# SPDX-License-Identifier: Apache-2.0

"""tools/tempest_run.py: which tests it takes, on what cloud, and its tempest.conf."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from installations import ROOT

from devcloud import linux_guest
from devcloud.endpoints import Ports
from devcloud.settings import CloudSettings, several
from devcloud.simhost.settings import HostSettings


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


@pytest.mark.parametrize(
    ("arguments", "takes_volumes"),
    [
        ([], False),
        (["--volumes", "cinder"], True),
        # They are tests of the compute API as well.
        (["all", "--volumes", "cinder"], False),
        (["ServersTestJSON", "--volumes", "cinder"], False),
    ],
)
def test_short_takes_the_classes_that_need_volumes_where_there_are_some(
    arguments: list[str], takes_volumes: bool
) -> None:
    import tempest_run

    options = tempest_run._parser().parse_args(arguments)
    selection = tempest_run._selection(options)
    assert (tempest_run.VOLUMES[0] in selection) is takes_volumes
    assert len(selection) > 4 or not takes_volumes


def test_the_cloud_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    import tempest_run

    arguments = ["--driver=stock", "--distribution=trixie"]
    arguments += ["--volumes=cinder", "--network=neutron"]
    options = tempest_run._parser().parse_args(arguments)
    settings = tempest_run._cloud(options, tmp_path).settings
    assert settings.driver == "libvirt.LibvirtDriver"
    assert settings.optional_services == {"cinder", "neutron"}
    assert [node.distribution for node in settings.nodes] == ["trixie", "trixie"]


def test_without_a_linux_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    import tempest_run

    reason = tmp_path / "ready"
    reason.write_text("no mirror")
    monkeypatch.setattr(linux_guest, "DISK", tmp_path / "disk.qcow2")
    monkeypatch.setattr(linux_guest, "REASON", reason)
    monkeypatch.setattr(tempest_run.os, "geteuid", lambda: 0)
    monkeypatch.setattr(tempest_run, "_cloud", None)
    assert tempest_run.main([]) == 2
    assert "need a Linux: no mirror" in capsys.readouterr().out


def sections(
    tmp_path: Path, volumes: str = "", extensions: Sequence[str] = ()
) -> Mapping[str, Mapping[str, Any]]:
    """Return tempest.conf.

    :param extensions: of the network service; none for a cloud without one
    """
    import tempest_conf

    ports = Ports({"keystone": 5000})
    settings = CloudSettings(nodes=several(HostSettings(), 2), volumes=volumes)
    cloud = SimpleNamespace(cloud=SimpleNamespace(settings=settings, ports=ports))
    networks = tempest_conf.Networks("out", extensions) if extensions else None
    parts = tempest_conf.Parts(["small", "large"], ["one", "two"], networks)
    return tempest_conf.sections(cloud, parts, tmp_path)


@pytest.mark.parametrize("volumes", ["", "cinder"])
def test_tempest_is_told_what_the_cloud_has(tmp_path: Path, volumes: str) -> None:
    found = sections(tmp_path, volumes)
    assert found["service_available"]["cinder"] is bool(volumes)
    assert found["compute"]["min_compute_nodes"] == 2
    assert found["compute"]["flavor_ref_alt"] == "large"
    assert found["compute"]["image_ref_alt"] == "two"


def test_without_networks_tempest_uses_none(tmp_path: Path) -> None:
    found = sections(tmp_path)
    assert found["service_available"]["neutron"] is False
    assert "fixed_network_name" not in found["compute"]
    assert "network" not in found


def test_with_networks_all_servers_are_in_one(tmp_path: Path) -> None:
    found = sections(tmp_path, extensions=["router", "security-group"])
    assert found["service_available"]["neutron"] is True
    assert found["compute"]["fixed_network_name"] == "shared"
    assert found["compute-feature-enabled"]["interface_attach"] is True
    assert found["network"]["public_network_id"] == "out"
    extensions = found["network-feature-enabled"]["api_extensions"]
    assert extensions == "router,security-group"
