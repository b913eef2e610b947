# SPDX-License-Identifier: Apache-2.0
"""sqlite for a service with many threads.

sqlite has one writer at a time. A transaction that reads first and writes
later is refused at once ("database is locked") when another has written in
between, whatever the timeout says. Services built for MariaDB do that all
the time. So a transaction here asks for the right to write when it begins:
then it waits for its turn, and nothing is refused.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Connection, Engine

_IMMEDIATE = "BEGIN IMMEDIATE"


def create(paths: Iterable[Path]) -> None:
    """Make database files in which readers do not hinder the writer."""
    for path in paths:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()


def copy(source: Path, target: Path) -> None:
    """Make a database file of all that is in another, also while that is in use."""
    with contextlib.closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))
    create([target])


def take_turns() -> None:
    """From now on every transaction of this process begins as a writer's."""
    listen = sqlalchemy.event.listen
    listen(Engine, "before_cursor_execute", _begin_immediate, retval=True)
    listen(Engine, "after_cursor_execute", _note_begin)
    listen(Engine, "commit", _note_end)
    listen(Engine, "rollback", _note_end)


#: The database whose turn this thread has, and by which connection.
_turns = threading.local()


def _begin_immediate(
    connection: Connection,
    cursor: Any,
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> tuple[str, Any]:
    # oslo.db writes its own BEGIN as an ordinary statement. Placement reads a
    # provider anew by another connection while it writes: that needs no turn, and
    # would wait for its own thread.
    if statement == "BEGIN" and connection.engine.url not in _turns.__dict__.values():
        statement = _IMMEDIATE
    return statement, parameters


def _note_begin(
    connection: Connection, cursor: Any, statement: str, *more: Any
) -> None:
    if statement == _IMMEDIATE:
        _turns.__dict__[_key(connection)] = connection.engine.url


def _note_end(connection: Connection) -> None:
    _turns.__dict__.pop(_key(connection), None)


def _key(connection: Connection) -> str:
    return str(id(connection.connection.dbapi_connection))
