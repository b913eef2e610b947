# SPDX-License-Identifier: Apache-2.0

"""libvirt_connection: what libvirt is asked, and what its silence means."""

import libvirt
import pytest
from fake_libvirt import CAPABILITIES, Libvirt

from sev_driver.exceptions import DetectionError
from sev_driver.host import libvirt_connection
from sev_driver.host.libvirt_connection import LibvirtClient


def test_a_libvirt_error_is_a_detection_error() -> None:
    with pytest.raises(DetectionError, match="connection lost"):
        client = LibvirtClient(Libvirt(libvirt.libvirtError("connection lost")))
        client.domain_capabilities("kvm")


def test_a_version_that_libvirt_does_not_tell_is_unknown() -> None:
    connection = Libvirt(CAPABILITIES)

    def fail() -> int:
        raise libvirt.libvirtError("no version")

    connection.getVersion = fail  # type: ignore[method-assign]
    assert LibvirtClient(connection).versions() == ((9, 0, 0), None)


def test_libvirt_out_of_reach_is_told_and_not_taken_for_a_later_error() -> None:
    with pytest.raises(DetectionError, match="/does/not/exist"):
        libvirt_connection.connect("qemu:///system?socket=/does/not/exist")
    assert str(libvirt.libvirtError("later")) == "later"


def test_libvirts_own_test_driver_is_reached() -> None:
    connection = libvirt_connection.connect("test:///default")
    (domain,) = libvirt_connection.running_domains(connection)
    assert "<name>test</name>" in (libvirt_connection.read_xml(domain) or "")
    assert LibvirtClient(connection).versions()[0]
    connection.close()
