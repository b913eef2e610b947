# SPDX-License-Identifier: Apache-2.0
"""The cloud's web services and the loopback ports that they listen on."""

import errno
import json
import random
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
#: The sockets of each service, all of the same port.
Listeners = dict[str, list[socket.socket]]
#: From the first to the last port that the kernel gives to outgoing connections.
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Endpoint(NamedTuple):
    """One line of the service catalog."""

    service_type: str
    path: str


ENDPOINTS = {
    "keystone": Endpoint("identity", "/v3"),
    "placement": Endpoint("placement", ""),
    "glance": Endpoint("image", ""),
    "neutron": Endpoint("network", ""),
    "nova": Endpoint("compute", "/v2.1"),
    # Keystone puts the project in.
    "cinder": Endpoint("volumev3", "/v3/%(project_id)s"),
}
#: Those that not every cloud has.
OPTIONAL = {"cinder"}


def listen(optional: Iterable[str] = ()) -> dict[str, socket.socket]:
    """Take a free port for each service, so that clouds never collide.

    A client that comes before its service does waits in the socket's queue: nobody
    has to poll.
    """
    ports = _candidates()
    names = [name for name in ENDPOINTS if name not in OPTIONAL - set(optional)]
    return {name: _listen(ports) for name in names}


def _candidates() -> Iterator[int]:
    """Yield ports in an order of chance, none that an outgoing connection can have.

    One of these could be in the way of a service that is started again.
    """
    first = int(_OUTGOING.read_text().split()[0])
    yield from random.SystemRandom().sample(
        range(first - first // 2, first), first // 2
    )


def _listen(ports: Iterator[int]) -> socket.socket:
    for port in ports:
        try:
            return socket.create_server((HOST, port), backlog=128)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"no port of {HOST} is free")


def listen_again(port: int, timeout: float) -> socket.socket:
    """Listen where a service has just been killed.

    A child that it was about to start may have its socket for a moment.

    :param timeout: seconds to wait for that.
    :raises OSError: somebody else listens there.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return socket.create_server((HOST, port), backlog=128)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


class Ports:
    """Which service listens where."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self.numbers = numbers

    @classmethod
    def of(cls, listeners: Listeners) -> "Ports":
        return cls({name: s[0].getsockname()[1] for name, s in listeners.items()})

    @classmethod
    def read(cls, path: Path) -> "Ports":
        return cls(json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.numbers, indent=2) + "\n")

    def url(self, service: str) -> str:
        return f"http://{HOST}:{self.numbers[service]}{ENDPOINTS[service].path}"

    def urls(self) -> dict[str, str]:
        return {name: self.url(name) for name in self.numbers}
