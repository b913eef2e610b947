# SPDX-License-Identifier: Apache-2.0

"""Ports whose switch reads and writes the guest's memory itself (vhost-user)."""

from typing import Any

import pytest
from nova.tests.fixtures import libvirt as fakelibvirt
from nova_cloud import ASKED_BY_FLAVOR, UEFI, ApiError, Cloud, find

#: As Open vSwitch's driver of Neutron binds a port to a DPDK datapath.
BINDING = {
    "binding:vif_type": "vhostuser",
    "binding:vif_details": {
        "vhostuser_mode": "server",
        "vhostuser_socket": "/run/vhu-1",
        "vhostuser_ovs_plug": True,
    },
}
NO_IOMMU = "iommu_platform=true is not supported by the device"
Q35 = {"hw_machine_type": "q35"}


@pytest.fixture
def port(cloud: Cloud) -> str:
    """Return the id of a new port; each that is bound is one of vhost-user."""
    update = cloud.neutron.update_port

    def bind(port_id: str, body: Any = None) -> Any:
        answer = update(port_id, body)
        if port_id == new["id"]:
            cloud.neutron._ports[port_id].update(BINDING)
        return answer

    new: dict[str, Any] = cloud.neutron.create_port()["port"]
    cloud.neutron.update_port = bind
    cloud.neutron._ports[new["id"]].update(BINDING)
    return str(new["id"])


@pytest.fixture
def shared_memory(cloud: Cloud) -> None:
    """Have Nova share the memory of all guests, from a file."""
    cloud.flags(group="libvirt", file_backed_memory=16384)


def test_without_shared_memory_it_is_refused_before_anything_is_built(
    cloud: Cloud, port: str
) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, state="ERROR", networks=[{"port": port}])

    assert f"port {port} is vhost-user" in cloud.fault(server)
    assert "hw:mem_page_size=large" in cloud.fault(server)
    assert not cloud.defined


def test_attached_without_shared_memory_it_is_refused(cloud: Cloud, port: str) -> None:
    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)

    with pytest.raises(ApiError):
        cloud._attach_interface(server, port)

    assert f"port {port} is vhost-user" in cloud.log
    assert not cloud.attached


def test_plain_guest_is_left_alone(cloud: Cloud, port: str) -> None:
    cloud.boot(UEFI | Q35, networks=[{"port": port}])

    (xml,) = cloud.defined
    assert find(xml, "devices/interface").get("type") == "vhostuser"


@pytest.mark.usefixtures("shared_memory")
def test_with_shared_memory_it_runs(cloud: Cloud, port: str) -> None:
    cloud.boot(UEFI, ASKED_BY_FLAVOR, networks=[{"port": port}])

    (xml,) = cloud.defined
    interface = find(xml, "devices/interface")
    assert interface.get("type") == "vhostuser"
    assert interface.find("driver[@iommu='on']") is not None


@pytest.mark.usefixtures("shared_memory")
def test_switch_without_iommu_is_named_to_the_user(
    cloud: Cloud, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(domain: Any, flags: int = 0) -> None:
        raise fakelibvirt.make_libvirtError(fakelibvirt.libvirtError, NO_IOMMU)

    monkeypatch.setattr(fakelibvirt.Domain, "createWithFlags", refuse)

    server = cloud.boot(UEFI, ASKED_BY_FLAVOR, state="ERROR", networks=[{"port": port}])

    assert "vhost-iommu-support=true" in cloud.fault(server)


@pytest.mark.usefixtures("shared_memory")
def test_switch_without_iommu_is_named_in_the_log_of_an_attachment(
    cloud: Cloud, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(domain: Any, xml: str, flags: int) -> None:
        raise fakelibvirt.make_libvirtError(fakelibvirt.libvirtError, NO_IOMMU)

    server = cloud.boot(UEFI, ASKED_BY_FLAVOR)
    monkeypatch.setattr(fakelibvirt.Domain, "attachDeviceFlags", refuse)

    with pytest.raises(ApiError):
        cloud._attach_interface(server, port)

    assert "vhost-iommu-support=true" in cloud.log
