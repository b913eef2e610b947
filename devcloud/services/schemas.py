# SPDX-License-Identifier: Apache-2.0
"""Databases as the migrations of a service leave them, kept for the next clouds.

The migrations of all services take a large part of a cloud's start, and leave the same
tables each time.
"""

import hashlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from devcloud.services import Service, sqlite

#: Below the environment of the service: each release of Nova has its own.
KEPT = Path(sys.prefix) / "databases"


def provide(
    service: Service, package: str, names: Sequence[str], migrate: Callable[[], object]
) -> None:
    """Have the databases of a service there: as copies, or by its migrations.

    :param package: whose migrations they need, such as "nova"
    :param names: of the databases
    :param migrate: makes the tables in new databases
    """
    databases = [service.layout.database(name) for name in names]
    if not restore(package, databases):
        service.report.progress(f"creating the database{'s' if names[1:] else ''}")
        migrate()
        keep(package, databases)


def restore(package: str, databases: Sequence[Path]) -> bool:
    """Make new databases, as copies of those that were kept.

    :param package: whose migrations they need, such as "nova"
    :return: whether they have tables; else they are empty
    """
    # A service that starts again goes on with what it has.
    if all(path.exists() for path in databases):
        return True
    kept = [_folder(package) / path.name for path in databases]
    if not all(path.exists() for path in kept):
        sqlite.create(databases)
        return False
    for source, target in zip(kept, databases, strict=True):
        sqlite.copy(source, target)
    return True


def keep(package: str, databases: Sequence[Path]) -> None:
    """Keep copies of databases that the migrations of a package have just made."""
    folder = _folder(package)
    folder.mkdir(parents=True, exist_ok=True)
    # A file is there as a whole or not at all: two clouds may start at once.
    with tempfile.TemporaryDirectory(dir=folder) as new:
        for path in databases:
            sqlite.copy(path, Path(new, path.name))
            Path(new, path.name).replace(folder / path.name)


def _folder(package: str) -> Path:
    """Return where the databases of these very migrations are kept."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module named {package!r}", name=package)
    digest = hashlib.sha256()
    for folder in sorted(Path(spec.origin).parent.rglob("versions")):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return KEPT / f"{package}-{digest.hexdigest()[:16]}"
