# SPDX-License-Identifier: Apache-2.0
"""The databases that a cloud takes over from an earlier one."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from devcloud.services import schemas


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(schemas, "KEPT", tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a service's migrations."""
    folder = tmp_path / "packages/someservice/db/versions"
    folder.mkdir(parents=True)
    (folder / "001_first.py").write_text("first")
    (tmp_path / "packages/someservice/__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    return folder


@pytest.fixture
def first(migrations: Path, tmp_path: Path) -> Path:
    """Return the database of a cloud that has kept a copy of it."""
    database = tmp_path / "some.sqlite"
    schemas.restore("someservice", [database])
    migrate(database)
    schemas.keep("someservice", [database])
    (tmp_path / "next").mkdir()
    return database


def migrate(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE hosts (name TEXT)")
        connection.commit()


def tables(database: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master").fetchall()
    return [name for (name,) in rows]


def test_the_first_cloud_gets_empty_ones(migrations: Path, tmp_path: Path) -> None:
    databases = [tmp_path / "some.sqlite", tmp_path / "more.sqlite"]

    assert not schemas.restore("someservice", databases)

    assert [tables(each) for each in databases] == [[], []]


def test_the_next_gets_the_tables(first: Path, tmp_path: Path) -> None:
    second = [tmp_path / "next/some.sqlite"]

    assert schemas.restore("someservice", second)

    assert tables(second[0]) == ["hosts"]


def test_other_migrations_make_other_tables(
    first: Path, migrations: Path, tmp_path: Path
) -> None:
    (migrations / "002_second.py").write_text("second")

    assert not schemas.restore("someservice", [tmp_path / "next/some.sqlite"])


def test_one_that_is_missing_makes_all_new(first: Path, tmp_path: Path) -> None:
    both = [tmp_path / "next/some.sqlite", tmp_path / "next/more.sqlite"]

    assert not schemas.restore("someservice", both)

    assert tables(both[0]) == []


def test_a_service_that_starts_again_keeps_its_own(first: Path) -> None:
    with contextlib.closing(sqlite3.connect(first)) as connection:
        connection.execute("INSERT INTO hosts VALUES ('here')")
        connection.commit()

    assert schemas.restore("someservice", [first])

    with contextlib.closing(sqlite3.connect(first)) as connection:
        rows = connection.execute("SELECT name FROM hosts").fetchall()
    assert rows == [("here",)]
