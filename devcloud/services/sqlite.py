#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
"""sqlite for a service with many threads.

sqlite has one writer at a time. A transaction that reads first and writes
later is refused at once ("database is locked") when another has written in
between, whatever the timeout says. Services built for MariaDB do that all
the time. So a transaction here asks for the right to write when it begins:
then it waits for its turn, and nothing is refused.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Engine


def create(paths: Iterable[Path]) -> None:
    """Make database files in which readers do not hinder the writer."""
    for path in paths:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()


def take_turns() -> None:
    """From now on every transaction of this process begins as a writer's."""
    sqlalchemy.event.listen(
        Engine, "before_cursor_execute", _begin_immediate, retval=True
    )


def _begin_immediate(
    connection: Any,
    cursor: Any,
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> tuple[str, Any]:
    # oslo.db writes its own BEGIN as an ordinary statement.
    return ("BEGIN IMMEDIATE" if statement == "BEGIN" else statement), parameters
