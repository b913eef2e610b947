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

"""What libvirt has told Nova of the host, so that it is asked once and not twice.

One question for domain capabilities takes libvirt a tenth of a second or more, and
Nova asks the very same when it starts.
"""

from __future__ import annotations

from typing import Any

_NAME = "_sev_driver_answers"


class Answers:
    """What one connection has told, kept with it: each call's last answer."""

    def __init__(self, connection: Any) -> None:
        self._domain_capabilities: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        ask = connection.getDomainCapabilities

        def get_domain_capabilities(
            emulator: str | None = None,
            arch: str | None = None,
            machine: str | None = None,
            virt_type: str | None = None,
            flags: int = 0,
        ) -> str:
            text: str = ask(emulator, arch, machine, virt_type, flags)
            if virt_type and arch == "x86_64" and "q35" in (machine or ""):
                self._domain_capabilities[virt_type] = text
            return text

        connection.getDomainCapabilities = get_domain_capabilities
        for name in ("getLibVersion", "getVersion"):
            setattr(connection, name, self._keeping(name, getattr(connection, name)))

    def _keeping(self, name: str, ask: Any) -> Any:
        def get_number() -> int:
            number: int = ask()
            self._numbers[name] = number
            return number

        return get_number

    def take_domain_capabilities(self, virt_type: str) -> str | None:
        """Return what was told of q35 guests, once: who looks again asks again."""
        return self._domain_capabilities.pop(virt_type, None)

    def number(self, name: str) -> int | None:
        """Return what the method ``name`` has returned: a version, in libvirt's way."""
        return self._numbers.get(name)


def keep(nova_host: Any) -> None:
    """Have every connection of Nova's keep what it is told.

    :param nova_host: Nova's libvirt Host, before its first connection.
    """
    connect = nova_host.get_connection

    def get_connection() -> Any:
        connection = connect()
        if getattr(connection, _NAME, None) is None:
            setattr(connection, _NAME, Answers(connection))
        return connection

    nova_host.get_connection = get_connection


def of(connection: Any) -> Answers | None:
    """Return what the connection has kept; None where it keeps nothing."""
    found = getattr(connection, _NAME, None)
    return found if isinstance(found, Answers) else None
