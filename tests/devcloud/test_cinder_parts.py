# SPDX-License-Identifier: Apache-2.0

"""A cloud with Cinder: the parts that need no root, no cloud and no Cinder."""

import contextlib
import subprocess
from pathlib import Path

import pytest

from devcloud import __main__ as commands
from devcloud import endpoints
from devcloud.cloud import CloudError
from devcloud.config import cinder, ini
from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.multinode import volumes
from devcloud.multinode.mariadb import MariaDB
from devcloud.settings import CloudSettings

WITH_CINDER = CloudSettings(volumes="cinder")
QUEUE, DATABASE = "rabbit://a:b@127.0.0.1:5/", "mysql+pymysql://a:b@127.0.0.1:6/cinder"


@pytest.mark.parametrize("settings", [CloudSettings(), WITH_CINDER])
def test_only_a_cloud_with_volumes_has_their_service(
    settings: CloudSettings, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        listeners = endpoints.listen(settings.optional_services)
        for listener in listeners.values():
            stack.enter_context(listener)
        database = MariaDB(settings, Layout(tmp_path))
        stack.enter_context(database.listener)
        database.write()

    (sql,) = tmp_path.rglob("init.sql")
    expected = settings is WITH_CINDER
    assert ("cinder" in listeners) is expected
    assert ("CREATE DATABASE cinder " in sql.read_text()) is expected


def test_volumes_need_a_cloud_with_several_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ["devcloud", "up", "--volumes", "cinder"]
    monkeypatch.setattr("sys.argv", given)
    with pytest.raises(CloudError, match="--nodes"):
        commands._settings(commands._parse())

    monkeypatch.setattr("sys.argv", [*given, "--nodes", "2"])

    assert commands._settings(commands._parse()).volumes == "cinder"


def test_each_back_end_has_a_share_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "prefix"
    (prefix / "etc" / "cinder").mkdir(parents=True)
    for name in ("api-paste.ini", "resource_filters.json"):
        (prefix / "etc" / "cinder" / name).touch()
    monkeypatch.setattr("sys.prefix", str(prefix))
    layout = Layout(tmp_path / "state")
    ports = Ports(dict.fromkeys(endpoints.ENDPOINTS, 1))

    cinder.write(WITH_CINDER, layout, ports, queue=QUEUE, database=DATABASE)

    sections = ini.read(cinder.conf(layout))
    assert sections["DEFAULT"]["transport_url"] == QUEUE
    assert sections["database"]["connection"] == DATABASE
    shares = set()
    for name in sections["DEFAULT"]["enabled_backends"].split(","):
        assert sections[name]["volume_backend_name"] == name
        (share,) = Path(sections[name]["nfs_shares_config"]).read_text().split()
        server, _, folder = share.partition(":")
        assert server == "127.0.0.1"
        assert Path(folder).is_dir()
        shares.add(folder)
    assert len(shares) == 2


def test_a_share_is_seen_where_nothing_may_be_mounted(tmp_path: Path) -> None:
    script = tmp_path / "mount.nfs"
    script.write_text(volumes._LINK)
    share, target = tmp_path / "share", tmp_path / "target"
    share.mkdir()
    target.mkdir()
    (share / "volume").touch()

    # os-brick may ask for it once more.
    for _ in range(2):
        command = ["sh", str(script), f"127.0.0.1:{share}", str(target), "-o", "rw"]
        subprocess.run(command, check=True)

    assert (target / "volume").exists()
