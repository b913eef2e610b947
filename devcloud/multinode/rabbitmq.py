# SPDX-License-Identifier: Apache-2.0
"""A RabbitMQ of this cloud alone: on loopback, with files in the state folder."""

import os
import socket
from pathlib import Path

from devcloud.endpoints import HOST
from devcloud.layout import Layout
from devcloud.settings import CloudSettings

NAME = "rabbitmq"
USER = "nova"

#: Debian's /usr/sbin/rabbitmq-server changes to the user rabbitmq and to the
#: system's folders; this is the script behind it.
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

#: One thread that sleeps when it has nothing to do: the machine is small.
_ERLANG = (
    "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none "
    "-kernel inet_dist_use_interface {127,0,0,1}"
)


class RabbitMQ:
    """The broker of one start of a cloud."""

    def __init__(self, settings: CloudSettings, layout: Layout) -> None:
        self._password = settings.password
        self._home = layout.lib(NAME)
        # It cannot be handed sockets, so ports are chosen for it: its own, that
        # of other brokers and tools, and that of Erlang's port mapper.
        self._port, self._dist_port, self._epmd_port = _free_ports(3)

    @property
    def url(self) -> str:
        """oslo.messaging's transport_url."""
        return f"rabbit://{USER}:{self._password}@{HOST}:{self._port}/"

    def write(self) -> None:
        self._home.mkdir(mode=0o700, parents=True)
        self._file("rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {HOST}:{self._port}\n"
            f"default_user = {USER}\n"
            f"default_pass = {self._password}\n"
            "log.file = false\n"
            "log.console = true\n"
            # By its own reckoning a developer's machine is always short.
            "disk_free_limit.absolute = 10MB\n"
            "vm_memory_high_watermark.absolute = 1GB\n"
        )
        # Else it would read those below /etc.
        self._file("advanced.config").write_text("[].\n")
        self._file("enabled_plugins").write_text("[].\n")

    def command(self) -> list[str]:
        return [str(SERVER)]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.pathsep.join(("/usr/sbin", "/usr/bin", "/sbin", "/bin")),
            # Erlang keeps a cookie there.
            "HOME": str(self._home),
            "RABBITMQ_NODENAME": "devcloud@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_MNESIA_BASE": str(self._file("mnesia")),
            "RABBITMQ_LOG_BASE": str(self._file("log")),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self._file("rabbitmq.conf")),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._file("advanced.config")),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._file("enabled_plugins")),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
        }

    def _file(self, name: str) -> Path:
        return self._home / name


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
