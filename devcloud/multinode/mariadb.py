# SPDX-License-Identifier: Apache-2.0
"""A MariaDB of this cloud alone: on loopback, with files in the state folder.

``python -m devcloud.multinode.mariadb DATA FD`` makes its files and becomes
the server, which takes over the listening socket.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from devcloud.endpoints import HOST
from devcloud.layout import Layout
from devcloud.settings import CloudSettings

NAME = "mariadb"
USER = "nova"
DATABASES = ("nova_api", "nova_cell0", "nova")
#: Of those that not every cloud has.
CINDER, NEUTRON = "cinder", "neutron"
INSTALL = "mariadb-install-db"
SERVER = "mariadbd"

#: sd_listen_fds(3): the first socket handed over has this number.
_FIRST_FD = 3
#: Of what the cloud writes nothing has to outlive the machine's power.
_OPTIONS = ("--no-defaults", "--user=root", "--skip-name-resolve", "--debug-no-sync")


class MariaDB:
    """The database server of one start of a cloud."""

    def __init__(self, settings: CloudSettings, layout: Layout) -> None:
        self._password = settings.password
        more = {settings.volumes, settings.network} & {CINDER, NEUTRON}
        self._databases = (*DATABASES, *sorted(more))
        self._home = layout.lib(NAME)
        self.listener = socket.create_server((HOST, 0), backlog=128)

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        port = self.listener.getsockname()[1]
        login = f"{USER}:{self._password}@{HOST}:{port}"
        return f"mysql+pymysql://{login}/{database}?charset=utf8"

    def write(self) -> None:
        self._home.mkdir(mode=0o700, parents=True)
        user = f"'{USER}'@'{HOST}'"
        names = self._databases
        lines = [f"CREATE DATABASE {name} CHARACTER SET utf8;" for name in names]
        lines += [f"CREATE USER {user} IDENTIFIED BY '{self._password}';"]
        lines += [f"GRANT ALL ON {name}.* TO {user};" for name in names]
        # It takes one statement a line.
        (self._home / "init.sql").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        command = [sys.executable, "-m", __name__, str(self._home)]
        return [*command, str(self.listener.fileno())]


def become_server(home: Path, listener: int) -> None:
    """Install the system's tables, then be the server that has the socket."""
    options = [*_OPTIONS, f"--datadir={home / 'data'}"]
    subprocess.run([INSTALL, *options, "--skip-test-db"], check=True)
    os.dup2(listener, _FIRST_FD)
    os.set_inheritable(_FIRST_FD, True)  # dup2 leaves it alone if it is that one
    environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    command = [SERVER, *options, f"--init-file={home / 'init.sql'}"]
    command += ["--performance-schema=off", "--innodb-buffer-pool-size=64M"]
    # Below the data's folder: it need not fit into a socket's address.
    command += ["--socket=mariadb.sock"]
    os.execvpe(SERVER, command, environment)


if __name__ == "__main__":
    become_server(Path(sys.argv[1]), int(sys.argv[2]))
