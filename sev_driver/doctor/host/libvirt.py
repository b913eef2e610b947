# SPDX-License-Identifier: Apache-2.0

"""What the doctor asks libvirt, over a connection of its own.

libvirt-python is imported only when a question is asked: without it all else can
still be read.
"""

from __future__ import annotations

import importlib
import json
from typing import Any, Protocol

from sev_driver.doctor.host import domains as running_domains
from sev_driver.exceptions import DetectionError

DEFAULT_URI = "qemu:///system"


class Questions(Protocol):
    """The questions; nothing on the host is changed by any of them.

    Each raises DetectionError where libvirt does not answer.
    """

    def reach(self) -> bytes:
        """Connect."""

    def versions(self) -> bytes:
        """Return a list of libvirt's and QEMU's, each of three numbers or null."""

    def domain_capabilities(self, virt_type: str) -> bytes:
        """Return libvirt's own text."""

    def domains(self) -> bytes:
        """Return what is needed of each running domain, and no more."""


class Libvirt:
    """Answers from libvirt.

    :param uri: the URI, as for ``virsh --connect``.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: Any = None

    def reach(self) -> bytes:
        if self._connection is None:
            self._connection = _host().connect(self._uri)
        return self._uri.encode()

    def versions(self) -> bytes:
        self.reach()
        client = _host().LibvirtClient(self._connection)
        return json.dumps(client.versions()).encode()

    def domain_capabilities(self, virt_type: str) -> bytes:
        self.reach()
        client = _host().LibvirtClient(self._connection)
        text: str = client.domain_capabilities_xml(virt_type)
        return text.encode()

    def domains(self) -> bytes:
        self.reach()
        host = _host()
        texts = [
            host.read_xml(domain) for domain in host.running_domains(self._connection)
        ]
        return running_domains.sift(text for text in texts if text is not None)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Nobody:
    """For facts that were read elsewhere: there is no libvirt to ask."""

    def reach(self) -> bytes:
        raise DetectionError("libvirt was not asked")

    def versions(self) -> bytes:
        return self.reach()

    def domain_capabilities(self, virt_type: str) -> bytes:
        return self.reach()

    def domains(self) -> bytes:
        return self.reach()


def _host() -> Any:
    try:
        return importlib.import_module("sev_driver.host.libvirt_connection")
    except ImportError as error:
        raise DetectionError(
            f"libvirt-python cannot be imported here ({error}): run sev-doctor with "
            "the Python that runs nova-compute"
        ) from error
