# SPDX-License-Identifier: Apache-2.0

"""Network ports that are PCI devices of the host, of guests made by stock Nova."""

import contextlib
from typing import Any

import pytest
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.api import client as api_client
from nova.tests.functional.libvirt import base
from novas import WITH_SEV
from oslo_serialization import jsonutils
from with_driver import SEV_DRIVER, STOCK_DRIVER, WithSEVDriver

FUNCTIONS = (fakelibvirt.PF_PROD_ID, fakelibvirt.VF_PROD_ID)
#: Of the port, or of the domain that libvirt has.
WORDS = "a host device|a PCI device of the host"


class _WithPorts(WithSEVDriver, base.ServersTestBase):
    microversion = "latest"
    ADMIN_API = True

    def setUp(self) -> None:
        super().setUp()
        spec = {
            "vendor_id": fakelibvirt.PCI_VEND_ID,
            "physical_network": "physnet4",
        }
        specs = [jsonutils.dumps({**spec, "product_id": each}) for each in FUNCTIONS]
        self.flags(group="pci", device_spec=specs)
        self.flags(group="libvirt", hw_machine_type=["x86_64=q35"])
        self.libvirt.amd_sev.sev = True
        features = "nova.tests.fixtures.libvirt.virConnect._domain_capability_features"
        self.useFixture(fakelibvirt.fixtures.MonkeyPatch(features, WITH_SEV))
        self.neutron = self.useFixture(base.LibvirtNeutronFixture(self))
        self.neutron.create_port({"port": self.neutron.network_4_port_1})
        self.port = self.neutron.network_4_port_1["id"]
        devices = fakelibvirt.HostPCIDevicesInfo(num_pfs=1, num_vfs=1)
        self.start_compute(pci_info=devices)

    def boot(self, networks: Any) -> dict[str, Any]:
        flavor = self._create_flavor(extra_spec={"hw:mem_encryption": "true"})
        image = {**self.glance.image1, "id": "5ee6ca33-8ad9-4d3d-9a06-6aeb0bdbf76b"}
        image["properties"] = {"hw_firmware_type": "uefi", "hw_machine_type": "q35"}
        self.glance.create(None, image)
        server: dict[str, Any] = self._create_server(
            flavor_id=flavor, image_uuid=image["id"], networks=networks
        )
        return server

    def attempt(self, server: dict[str, Any], action: dict[str, Any]) -> None:
        with contextlib.suppress(api_client.OpenStackApiException):
            self.api.post_server_action(server["id"], action)

    @property
    def domains(self) -> dict[str, int]:
        """Whether each domain of the host is active, by its name."""
        connection = self.computes["compute1"].driver._host.get_connection()
        fake = getattr(connection, "_obj", connection)
        return {d.name(): d.isActive() for d in fake._vms.values()}


class TestGuestOfStock(_WithPorts):
    compute_driver = STOCK_DRIVER

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot([{"port": self.port}])
        self.before = self.domains
        self.assertEqual([1], list(self.before.values()))
        self.compute_driver = SEV_DRIVER
        self.flags(compute_driver=SEV_DRIVER)
        self.restart_compute_service("compute1", keep_hypervisor_state=True)

    def check_it_goes_on(self, state: str = "ACTIVE") -> None:
        self._wait_for_server_parameter(
            self.server, {"OS-EXT-STS:task_state": None, "status": state}
        )
        self.assertEqual(self.before, self.domains)
        self.assertRegex(self.stdlog.logger.output, WORDS)

    def test_a_hard_reboot_is_refused_and_loses_nothing(self) -> None:
        self.attempt(self.server, {"reboot": {"type": "HARD"}})
        self.check_it_goes_on()

    def test_a_rebuild_is_refused_and_loses_nothing(self) -> None:
        image = self.server["image"]["id"]
        self.attempt(self.server, {"rebuild": {"imageRef": image}})
        self.check_it_goes_on()

    def test_a_rescue_is_refused_while_it_runs(self) -> None:
        self.attempt(self.server, {"rescue": None})
        # Whatever goes wrong in a rescue, Nova sets ERROR; a hard reboot ends it.
        self.check_it_goes_on("ERROR")


class TestAttachment(_WithPorts):
    compute_driver = SEV_DRIVER

    def test_it_is_refused_with_its_words_in_the_log(self) -> None:
        """Nova replaces the words by its own for the user, whatever the reason."""
        server = self.boot("none")
        with pytest.raises(api_client.OpenStackApiException):
            self.api.attach_interface(
                server["id"], {"interfaceAttachment": {"port_id": self.port}}
            )
        self.assertRegex(self.stdlog.logger.output, WORDS)
        port = self.neutron.show_port(self.port)["port"]
        self.assertFalse(port.get("device_id"))
        self.assertEqual([1], list(self.domains.values()))


del _WithPorts
