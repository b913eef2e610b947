# SPDX-License-Identifier: Apache-2.0
"""The consoles of an encrypted guest: its devices, and an answer at the port."""

import socket
import struct
from typing import Any

import pytest
from lab import Lab, eventually
from lxml import etree

LOOPBACK = "127.0.0.1"


def devices(lab: Lab, server: Any) -> etree._Element:
    domain = etree.fromstring(lab.virsh("dumpxml", server.instance_name))
    found = domain.find("devices")
    assert found is not None
    return found


def one(parent: etree._Element, path: str) -> etree._Element:
    (found,) = parent.findall(path)
    return found


def has_iommu(device: etree._Element) -> bool:
    return device.find("driver[@iommu='on']") is not None


def first_bytes(port: int, count: int, say: bytes = b"") -> bytes:
    with socket.create_connection((LOOPBACK, port), timeout=120) as connection:
        connection.sendall(say)
        return connection.recv(count, socket.MSG_WAITALL)


@pytest.fixture
def server(lab: Lab) -> Any:
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    assert lab.domain(server).launch_security == "sev"
    return server


def test_vnc(lab: Lab, server: Any) -> None:
    found = devices(lab, server)
    graphics = one(found, "graphics[@type='vnc']")
    assert graphics.get("listen") == LOOPBACK
    video = one(found, "video")
    assert one(video, "model").get("type") == "virtio"
    assert has_iommu(video)

    greeting = first_bytes(int(graphics.get("port", "")), 12)

    assert greeting.startswith(b"RFB 003.")


def test_serial(lab: Lab, server: Any) -> None:
    source = one(devices(lab, server), "serial[@type='tcp']/source")
    assert (source.get("mode"), source.get("host")) == ("bind", LOOPBACK)
    port = int(source.get("service", ""))

    # The firmware draws its screen there.
    with socket.create_connection((LOOPBACK, port), timeout=120) as connection:
        lab.virsh("reset", server.instance_name)
        said, more = b"", b"-"
        while more and b"\x1b[" not in said:
            more = connection.recv(4096)
            said += more
        assert b"\x1b[" in said


def test_spice(lab: Lab) -> None:
    lab.configure({"vnc": {"enabled": "false"}, "spice": {"enabled": "true"}})
    server = lab.boot_encrypted()
    assert server.status == "ACTIVE", server.fault
    found = devices(lab, server)
    graphics = one(found, "graphics[@type='spice']")
    assert graphics.get("listen") == LOOPBACK
    # The agent's channel needs a virtio controller, which Nova leaves to libvirt.
    assert found.find("channel[@type='spicevmc']") is not None
    assert has_iommu(one(found, "controller[@type='virtio-serial']"))
    assert has_iommu(one(found, "video"))

    # Protocol 2.2; connection 0, channel 0 of type 1 (main), no capabilities.
    body = struct.pack("<IBBIII", 0, 1, 0, 0, 0, 18)
    link = b"REDQ" + struct.pack("<III", 2, 2, len(body)) + body
    answer = first_bytes(int(graphics.get("port", "")), 4, link)

    assert answer == b"REDQ"
    assert lab.domain(server).launch_security == "sev"


def test_the_log_of_the_console(lab: Lab, server: Any) -> None:
    def log() -> str:
        answer = lab.connection.compute.get_server_console_output(server)
        return str(answer["output"])

    eventually("the firmware says something", log)
