# SPDX-License-Identifier: Apache-2.0
"""A PCI device in the flavor: stock Nova's driver and ours, side by side."""

from typing import Any
from unittest import mock

import generations
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.libvirt import base
from novas import WITH_SEV
from oslo_serialization import jsonutils
from with_driver import SEV_DRIVER, STOCK_DRIVER, WithSEVDriver

from sev_driver.model import MemoryEncryptionModel

DEVICE = {
    "vendor_id": fakelibvirt.PCI_VEND_ID,
    "product_id": fakelibvirt.PCI_PROD_ID,
}


class _PCIInTheFlavor(WithSEVDriver, base.ServersTestBase):
    microversion = "latest"

    def setUp(self) -> None:
        super().setUp()
        self.flags(
            group="pci",
            device_spec=[jsonutils.dumps(DEVICE)],
            alias=[jsonutils.dumps({**DEVICE, "name": "gpu"})],
        )
        self.flags(group="libvirt", hw_machine_type=["x86_64=q35"])
        self.libvirt.amd_sev.sev = True
        self.useFixture(
            fakelibvirt.fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.virConnect._domain_capability_features",
                WITH_SEV,
            )
        )
        self.defined: list[str] = []
        define = fakelibvirt.virConnect.defineXML

        def recorded(connection: Any, xml: str) -> Any:
            self.defined.append(xml)
            return define(connection, xml)

        self.useFixture(
            fakelibvirt.fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.virConnect.defineXML", recorded
            )
        )

    def build(
        self,
        expected: str,
        model: MemoryEncryptionModel = generations.SEV,
        qemu_version: int = 10_000_000,
    ) -> dict[str, Any]:
        self.start_compute(
            pci_info=fakelibvirt.HostPCIDevicesInfo(num_pci=1),
            libvirt_version=11_003_000,
            qemu_version=qemu_version,
        )
        asked = generations.asking(model)
        flavor = self._create_flavor(
            extra_spec=asked | {"pci_passthrough:alias": "gpu:1"}
        )
        image = {**self.glance.image1, "id": "5ee6ca33-8ad9-4d3d-9a06-6aeb0bdbf76b"}
        image["properties"] = generations.IMAGES[model] | {"hw_machine_type": "q35"}
        self.glance.create(None, image)
        server: dict[str, Any] = self._create_server(
            flavor_id=flavor,
            image_uuid=image["id"],
            networks="none",
            expected_state=expected,
        )
        return server


class TestStockNova(_PCIInTheFlavor):
    compute_driver = STOCK_DRIVER

    def test_it_starts_an_encrypted_guest_with_a_device_of_the_host(self) -> None:
        self.build("ACTIVE")
        (xml,) = self.defined
        self.assertIn("<launchSecurity", xml)
        self.assertIn("<hostdev", xml)


class TestOurDriver(_PCIInTheFlavor):
    compute_driver = SEV_DRIVER

    def test_it_refuses_in_words_and_defines_nothing(self) -> None:
        with mock.patch("nova.virt.libvirt.driver.LibvirtDriver.spawn") as spawn:
            server = self.build("ERROR")
        spawn.assert_not_called()
        self.assertEqual([], self.defined)
        message = server["fault"]["message"]
        self.assertIn("pci_passthrough:alias of flavor", message)
        self.assertIn("is gpu:1, a host device", message)
        self.assertNotIn("Exceeded maximum number of retries", message)

    def test_it_refuses_snp_guests_as_well(self) -> None:
        self._with_snp()
        server = self.build("ERROR", generations.SNP)
        self.assertEqual([], self.defined)
        self.assertIn("is gpu:1, a host device", server["fault"]["message"])

    def test_the_option_allows_it_to_snp_guests(self) -> None:
        self._with_snp()
        self.flags(group="sev", allow_snp_pci_devices=True)
        self.build("ACTIVE", generations.SNP)
        (xml,) = self.defined
        self.assertIn("<launchSecurity type='sev-snp'", xml.replace('"', "'"))
        self.assertIn("<hostdev", xml)

    def test_the_option_allows_nothing_to_older_qemu(self) -> None:
        self._with_snp()
        self.flags(group="sev", allow_snp_pci_devices=True)
        server = self.build("ERROR", generations.SNP, qemu_version=9_001_000)
        self.assertEqual([], self.defined)
        self.assertIn("needs QEMU 9.2.0", server["fault"]["message"])

    def test_the_option_allows_nothing_to_sev_guests(self) -> None:
        self.flags(group="sev", allow_snp_pci_devices=True)
        self.build("ERROR")
        self.assertEqual([], self.defined)

    def _with_snp(self) -> None:
        self.libvirt.amd_sev.sev_snp = True
        self.useFixture(
            fakelibvirt.fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.virConnect._domain_capability_features",
                generations.EVERY_GENERATION,
            )
        )


del _PCIInTheFlavor
