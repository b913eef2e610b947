# SPDX-License-Identifier: Apache-2.0

"""Nova's functional test classes, with our driver and a host that has SEV."""

import pathlib
from typing import Any

import fixtures
import novas
from nova.tests.fixtures import libvirt as fakelibvirt

# Nova's fixtures forbid to import libvirt in a test: it is imported here.
from sev_driver.driver import SEVDriver

SEV_DRIVER = "sev_driver.SEVDriver"
STOCK_DRIVER = "libvirt.LibvirtDriver"


def running_ids(connection: Any) -> list[int]:
    """Return what libvirt's listDomainsID does, which Nova's fake does not have."""
    flags = fakelibvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
    return [domain.ID() for domain in connection.listAllDomains(flags)]


def running_id(domain: Any) -> int:
    """Return libvirt's id of a domain; Nova's fake gives one to two domains."""
    running = domain._connection._running_vms
    return next((number for number, each in running.items() if each is domain), -1)


def show_host(case: Any, parameters: pathlib.Path, firmware: pathlib.Path) -> None:
    """Have our code see these folders, and nothing of this machine's own.

    :param case: what undoes it at its end.
    """
    nothing = pathlib.Path("/nothing of this machine's own")
    for name, value in (
        ("host.libvirt_connection.libvirt", fakelibvirt),
        ("host.kernel.KVM_PARAMETERS", parameters),
        ("host.kernel.DEVICES", nothing),
        ("host.kernel.MISC_DEVICES", nothing),
        ("host.kernel.CONTROL_GROUPS", (nothing,)),
        ("host.kernel.MODULES", nothing),
        ("host.kernel.PSP_DRIVER", nothing),
        ("host.kernel.PROC", nothing),
        ("host.kernel.IOMMU_GROUPS", nothing),
        ("host.kernel.IOMMUS", nothing),
        ("host.firmware_dirs.FOLDERS", (firmware,)),
    ):
        case.useFixture(fixtures.MonkeyPatch(f"sev_driver.{name}", value))
    ids = "nova.tests.fixtures.libvirt.Connection.listDomainsID"
    case.useFixture(fixtures.MonkeyPatch(ids, running_ids))
    own_id = "nova.tests.fixtures.libvirt.Domain.ID"
    case.useFixture(fixtures.MonkeyPatch(own_id, running_id))


class KvmParametersFixture(novas.KernelAnswersFixture):
    """The parameters of kvm_amd, for Nova's eyes and for ours.

    The attributes, which Nova's tests change while they run, are here also files
    for our code to read.
    Of this machine's own devices and firmware nothing is seen.
    """

    _FILES = ("sev", "sev_es", "sev_snp")

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        #: Firmware descriptors; it does not exist, which tells nothing, until made.
        self.firmware = self.folder / "firmware"
        for name in self._FILES:
            self._write(name, getattr(self, name))
        show_host(self, self.folder, self.firmware)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self._FILES and "folder" in vars(self):
            self._write(name, value)

    def _write(self, name: str, enabled: bool) -> None:
        (self.folder / name).write_text("Y\n" if enabled else "N\n")


class NovaTestCase:
    """Mix in before a Nova test class that pytest is to run."""

    def runTest(self) -> None:
        # pytest makes a case of this name to look at it, never to run it.
        raise AssertionError("never run")

    def _clear_attrs(self) -> None:
        # Nova drops all attributes at a test's end; pytest wants its own back.
        method = getattr(self, self._testMethodName)
        super()._clear_attrs()
        setattr(self, self._testMethodName, method)


class WithSEVDriver(NovaTestCase):
    """Mix in before a Nova test class: every compute runs ``compute_driver``."""

    compute_driver = SEV_DRIVER

    def setUp(self) -> None:
        self._use_kvm_parameters()
        self.driver_classes: set[type] = set()
        super().setUp()

    def _use_kvm_parameters(self) -> None:
        novas.use_kvm_parameters(self, KvmParametersFixture)

    def _setup_compute_service(self) -> None:
        self.flags(compute_driver=self.compute_driver)

    def start_service(self, name: str, *args: Any, **kwargs: Any) -> Any:
        service = super().start_service(name, *args, **kwargs)
        if name == "compute":
            self.driver_classes.add(type(service.driver))
            is_ours = type(service.driver) is SEVDriver
            self.assertEqual(self.compute_driver == SEV_DRIVER, is_ours)
        return service
