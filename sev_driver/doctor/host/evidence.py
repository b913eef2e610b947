# SPDX-License-Identifier: Apache-2.0

"""What was read on a host, as one value; the checks see nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

from sev_driver.doctor.host.domains import RunningDomain
from sev_driver.doctor.host.nova_conf import Option
from sev_driver.host import kernel_rules
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.host.detection import detect
from sev_driver.host.facts import HostFacts, Iommu, SystemFacts
from sev_driver.host.files import Status
from sev_driver.host.firmware import FirmwareDescriptor
from sev_driver.host.processor import Processor
from sev_driver.model import MemoryEncryptionModel

Value = TypeVar("Value")


NOT_LOOKED_FOR = "it was not checked"
#: Suffix of the message for a fact that an archive does not have.
NOT_IN_ARCHIVE = "is not in the archive"


@dataclasses.dataclass(frozen=True)
class Fact(Generic[Value]):
    """One thing that was looked for.

    ``value`` is None where there is no such thing, or where ``unknown`` says why it
    could not be read: unreadable is never absent.
    """

    value: Value | None = None
    unknown: str = ""

    @property
    def absent(self) -> bool:
        return self.value is None and not self.unknown


@dataclasses.dataclass(frozen=True)
class Opening:
    """What came of opening a device for reading and writing.

    ``error`` is empty if it opened; ``nodev`` is true if it lies on a mount
    on which no device can be opened.
    """

    error: str
    nodev: bool


@dataclasses.dataclass(frozen=True)
class NovaCompute:
    """Its Python and arguments, and the user that it runs as.

    ``elsewhere`` is true if it runs in a container of its own.
    """

    python: str
    arguments: tuple[str, ...] = ()
    elsewhere: bool = False
    user: str = "root"


@dataclasses.dataclass(frozen=True)
class Import:
    """Whether nova-compute's import of the driver works, and what was said of it."""

    works: bool
    said: str


@dataclasses.dataclass(frozen=True)
class SecureProcessor:
    """The PCI devices that the module ccp drives, and what sysfs says of each.

    ``attributes`` are files of the device such as ``tsme_status``.
    """

    devices: tuple[str, ...]
    attributes: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Daemon:
    """The daemon that starts QEMU, libvirtd or virtqemud.

    ``memlock`` is how many bytes it may lock, None if it is not known;
    ``may_raise_limits`` whether it has CAP_SYS_RESOURCE.
    """

    name: str
    pid: int
    memlock: int | None
    may_raise_limits: bool | None


@dataclasses.dataclass(frozen=True)
class FirmwareContents:
    """What a guest firmware's file has for SEV.

    ``sha256`` is the digest of the file in hexadecimal digits. ``has_sev_metadata`` is
    true if a SEV-SNP guest can start with it. ``measures_kernel`` are the models whose
    launch measurement can include the hashes of a kernel.
    """

    sha256: str
    has_sev_metadata: bool
    measures_kernel: frozenset[MemoryEncryptionModel]


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """A firmware descriptor in force; ``firmware`` is None where it makes no sense.

    ``file`` is who may read the firmware that it names. ``contents`` is what that
    firmware has for SEV, if it suits any model.
    """

    path: str
    firmware: FirmwareDescriptor | None
    error: str = ""
    file: Fact[Status] = Fact(unknown=NOT_LOOKED_FOR)
    contents: Fact[FirmwareContents] = Fact(unknown=NOT_LOOKED_FOR)


@dataclasses.dataclass(frozen=True)
class Memory:
    """KiB, of /proc/meminfo."""

    total_kib: int
    available_kib: int
    huge_pages_kib: int


#: Any: it has no value, whatever would be read.
_NOT_READ: Fact[Any] = Fact(unknown=NOT_LOOKED_FOR)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What was read of a host, and by whom.

    ``facts`` is what the driver itself goes by. ``read_as`` is the user that read,
    ``nova_files`` are the files of nova.conf that were read, in their order, each
    with why it could not be; ``options`` what counts of them.
    ``guest_mib`` is the memory of the guests that are asked about.
    """

    facts: HostFacts
    read_as: str = ""
    processor: Fact[Processor] = _NOT_READ
    command_line: Fact[str] = _NOT_READ
    iommu: Fact[Iommu] = _NOT_READ
    secure_processor: Fact[SecureProcessor] = _NOT_READ
    kernel_log: Fact[tuple[str, ...]] = _NOT_READ
    modules: Fact[frozenset[str]] = _NOT_READ
    kvm_device: Fact[Status] = _NOT_READ
    sev_device: Fact[Status] = _NOT_READ
    sev_opening: Fact[Opening] = _NOT_READ
    misc_current: Mapping[str, int] = dataclasses.field(default_factory=dict)
    daemon: Fact[Daemon] = _NOT_READ
    apparmor: Fact[str] = _NOT_READ
    selinux: Fact[str] = _NOT_READ
    nova_release: Fact[int] = _NOT_READ
    qemu_conf: Fact[Mapping[str, str]] = _NOT_READ
    libvirt: Fact[str] = _NOT_READ
    domains: Fact[tuple[RunningDomain, ...]] = _NOT_READ
    descriptors: tuple[Descriptor, ...] = ()
    nova_compute: Fact[NovaCompute] = _NOT_READ
    driver_import: Fact[Import] = _NOT_READ
    nova_files: Mapping[str, Fact[bytes]] = dataclasses.field(default_factory=dict)
    options: Mapping[tuple[str, str], Option] = dataclasses.field(default_factory=dict)
    memory: Fact[Memory] = _NOT_READ
    open_vswitch: Fact[Mapping[str, str]] = _NOT_READ
    guest_mib: int = 2048

    @cached_property
    def capabilities(self) -> HostCapabilities:
        """The driver's own verdict, had the driver read as much as the doctor."""
        return detect(self.full_facts)

    @cached_property
    def full_facts(self) -> HostFacts:
        """The driver's facts, with what this process has read besides."""
        psp, known = self.secure_processor.value, self.facts.system
        mine = SystemFacts(
            processor=self.processor.value,
            command_line=self.command_line.value,
            kernel_log=self.kernel_log.value,
            modules=self.modules.value,
            psp_devices=None if psp is None else psp.devices,
            iommu=self.iommu.value,
        )
        read = {k: v for k, v in vars(mine).items() if v is not None}
        return dataclasses.replace(
            self.facts, system=dataclasses.replace(known, **read)
        )

    def switched_on(self, model: MemoryEncryptionModel) -> bool:
        """Return whether kvm_amd has it on: what is below must then be on, too."""
        return kernel_rules.parameter(model, self.facts) is None

    def option(self, section: str, name: str) -> str | None:
        """Return what nova.conf says; None where it says nothing."""
        found = self.options.get((section, name))
        return None if found is None else found.value
