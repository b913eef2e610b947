# SPDX-License-Identifier: Apache-2.0
"""Where a cloud keeps what: the one place that knows its state folder."""

import os
import shutil
from pathlib import Path

#: The source tree that this cloud runs from.
TREE = Path(__file__).resolve().parent.parent


class Layout:
    """The state folder of one cloud."""

    def __init__(self, state: str | os.PathLike[str]) -> None:
        self.state = Path(state).resolve()
        self.settings = self.state / "cloud.json"
        self.running = self.state / "running.json"
        self.ports = self.state / "ports.json"
        self.lock = self.state / "lock"
        self.control = self.state / "control"
        self.openrc = self.state / "openrc"
        self.clouds_yaml = self.state / "clouds.yaml"
        self.logs = self.state / "logs"
        self.deaths = self.logs / "deaths.log"
        self.images = self.state / "images"
        self.tmp = self.state / "tmp"
        self._etc = self.state / "etc"
        self._db = self.state / "db"
        self._lib = self.state / "lib"
        self._hosts = self.state / "hosts"

    def etc(self, service: str) -> Path:
        """The folder of a service's configuration files."""
        return self._etc / service

    def lib(self, service: str) -> Path:
        """The folder of a service's data."""
        return self._lib / service

    def database(self, name: str) -> Path:
        return self._db / f"{name}.sqlite"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def host(self, name: str) -> Path:
        """The state folder of one compute host."""
        return self._hosts / name

    def create(self) -> None:
        """Empty folders: a cloud starts from nothing."""
        self.retire()
        private = (self._etc, self._db, self._lib, self._hosts, self.tmp)
        for folder in (*private, self.logs, self.images):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700 if folder in private else 0o755)

    def retire(self) -> None:
        """Remove what would pretend that the cloud still runs.

        The rest stays until the next start: it is what one reads to find out
        how a cloud has ended.
        """
        for file in (self.running, self.openrc, self.clouds_yaml):
            file.unlink(missing_ok=True)
