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

"""Nova's functional test classes, with our driver and a host that has SEV."""

import pathlib
from typing import Any

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.libvirt import base

# Nova's fixtures forbid to import libvirt in a test; have it imported before.
import sev_driver.host
from sev_driver.driver import SEVDriver

SEV_DRIVER = "sev_driver.SEVDriver"
STOCK_DRIVER = "libvirt.LibvirtDriver"

#: The features of a host with SEV alone in libvirt's domain capabilities.
WITH_SEV = fakelibvirt.virConnect._domain_capability_features_with_SEV
SLOTS = 100


class KvmParametersFixture(fakelibvirt.AmdSevFixture):
    """The parameters of kvm_amd, for Nova's eyes and for ours.

    Nova's own fixture answers in place of Nova's code. Its attributes, which
    Nova's tests change while they run, are here also files for our code to read.
    """

    _FILES = ("sev", "sev_es", "sev_snp")

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for name in self._FILES:
            self._write(name, getattr(self, name))
        for name, value in (("KVM_PARAMETERS", self.folder), ("libvirt", fakelibvirt)):
            self.useFixture(fixtures.MonkeyPatch(f"sev_driver.host.{name}", value))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self._FILES and "folder" in vars(self):
            self._write(name, value)

    def _write(self, name: str, enabled: bool) -> None:
        (self.folder / name).write_text("Y\n" if enabled else "N\n")


class WithSEVDriver:
    """Mix in before a Nova test class: every compute runs ``compute_driver``."""

    compute_driver = SEV_DRIVER

    def setUp(self) -> None:
        # Nova's LibvirtFixture makes its AmdSevFixture by this name.
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.AmdSevFixture", KvmParametersFixture
            )
        )
        self.driver_classes: set[type] = set()
        super().setUp()

    def _clear_attrs(self) -> None:
        # Nova drops all attributes at a test's end; pytest wants its own back.
        method = getattr(self, self._testMethodName)
        super()._clear_attrs()
        setattr(self, self._testMethodName, method)

    def _setup_compute_service(self) -> None:
        self.flags(compute_driver=self.compute_driver)

    def start_service(self, name: str, *args: Any, **kwargs: Any) -> Any:
        service = super().start_service(name, *args, **kwargs)
        if name == "compute":
            self.driver_classes.add(type(service.driver))
            is_ours = type(service.driver) is SEVDriver
            self.assertEqual(self.compute_driver == SEV_DRIVER, is_ours)
        return service


class ServersTestCase(WithSEVDriver, base.ServersTestBase):
    """One API, one Placement, and computes with our driver on hosts with SEV."""

    microversion = "latest"
    ADMIN_API = True

    def setUp(self) -> None:
        super().setUp()
        self.libvirt.amd_sev.sev = True
        self.set_domain_features(WITH_SEV)
        self.defined: list[str] = []
        self._record_defined_domains()

    def set_domain_features(self, xml: str) -> None:
        """Have libvirt report these features from the next start of a compute."""
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.virConnect._domain_capability_features",
                xml,
            )
        )

    def _record_defined_domains(self) -> None:
        """Keep in ``defined`` each XML that libvirt is given."""
        original = fakelibvirt.Connection.defineXML

        def define(connection: Any, xml: Any) -> Any:
            text = xml.decode() if isinstance(xml, bytes) else xml
            self.defined.append(text)
            return original(connection, xml)

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Connection.defineXML", define
            )
        )

    # Images, flavors, servers

    def image(self, image_id: str, name: str = "debian", **properties: str) -> str:
        """Put an image into Glance; its id is ``image_id``."""
        base_image = self.glance.image1
        return self.glance.create(
            None,
            {
                **base_image,
                "id": image_id,
                "name": name,
                "properties": {"architecture": "x86_64", **properties},
            },
        )["id"]

    def flavor(self, name: str, vcpus: int = 2, **extra_specs: str) -> str:
        """Make a flavor; ``hw__x`` stands for the key ``hw:x``."""
        return self._create_flavor(
            id=name,
            name=name,
            vcpu=vcpus,
            disk=1,
            ephemeral=0,
            memory_mb=512,
            extra_spec={key.replace("__", ":"): v for key, v in extra_specs.items()},
        )

    def fault(self, server: dict[str, Any]) -> str:
        """Return what ``openstack server show`` says of a server in ERROR."""
        return self.api.get_server(server["id"])["fault"]["message"]

    def restart_with(
        self, driver: str | None = None, hostname: str = "compute1"
    ) -> None:
        """Restart a compute, perhaps with another driver; its guests stay."""
        if driver is not None:
            self.compute_driver = driver
            self.flags(compute_driver=driver)
        self.restart_compute_service(hostname)


def loaded_module_path() -> str:
    """Where the driver under test was loaded from."""
    return str(sev_driver.host.__file__)
