# SPDX-License-Identifier: Apache-2.0

"""A guest firmware's file: its tables for SEV, and which file libvirt selects.

OVMF ends with a table of entries, each with a GUID, in which QEMU finds where the
secure processor must put what (edk2, OvmfPkg/ResetVector; QEMU,
hw/i386/pc_sysfw_ovmf.c).
"""

from __future__ import annotations

import dataclasses
import enum
import struct
import uuid
from collections.abc import Iterable
from typing import Final

from sev_driver.exceptions import MalformedFirmware
from sev_driver.host import files
from sev_driver.host.files import LOCAL, Source
from sev_driver.host.firmware import FirmwareDescriptor, FirmwareView
from sev_driver.model import MemoryEncryptionModel

#: Far above the size of any firmware: QEMU maps at most 16 MiB below 4 GiB.
FILE_BYTES: Final = 64 * 1024 * 1024

_TABLE: Final = uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
_HASH_TABLE: Final = uuid.UUID("7255371f-3a3b-4b04-927b-1da6efa8d454").bytes_le
_METADATA: Final = uuid.UUID("dc886566-984a-4798-a75e-5585a7bf67cc").bytes_le

#: The reset vector, behind the table.
_BEHIND_TABLE: Final = 32
#: An entry is its data, its length in bytes with this tail, and its GUID.
_ENTRY: Final = struct.Struct("<H16s")
_AREA: Final = struct.Struct("<II")
_OFFSET: Final = struct.Struct("<I")
#: The signature, the length in bytes, the version and the number of the sections.
_HEADER: Final = struct.Struct("<4sIII")
_SECTION: Final = struct.Struct("<III")
#: The bytes that QEMU writes for kernel, initrd and command line (PaddedSevHashTable).
_HASH_TABLE_BYTES: Final = 176

#: The first bytes of a QCOW2 image, in which the firmware is not found as it is.
_QCOW2: Final = b"QFI\xfb"


class SectionKind(enum.IntEnum):
    """What a section of the SEV metadata is for; values not listed are of others."""

    SEC_MEMORY = 1
    SECRETS = 2
    CPUID = 3
    SVSM_CAA = 4
    KERNEL_HASHES = 0x10


@dataclasses.dataclass(frozen=True)
class Area:
    """A part of the guest's memory: its address and size in bytes.

    ``kind`` is the number of a :class:`SectionKind`, 0 for the table of hashes.
    """

    base: int
    size: int
    kind: int = 0


@dataclasses.dataclass(frozen=True)
class GuestFirmware:
    """The tables for SEV in a guest firmware's file.

    ``metadata`` are the sections of the SEV metadata, None if the firmware has none.
    ``hash_table`` is where QEMU puts the hashes of a kernel, None if it cannot.
    """

    metadata: tuple[Area, ...] | None = None
    hash_table: Area | None = None

    @classmethod
    def parse(cls, data: bytes) -> GuestFirmware:
        """Parse a firmware as QEMU maps it.

        An entry that QEMU would not find is not found here either: in a firmware that
        is not OVMF, or behind an entry that is malformed.

        :param data: the whole file, without variables that are in another file.
        :raises MalformedFirmware: there are entries for SEV, but their contents are
            not in the form that OVMF documents.
        """
        if data.startswith(_QCOW2):
            raise MalformedFirmware("guest firmware: it is a QCOW2 image")
        entries = _entries(data)
        metadata = entries.get(_METADATA)
        hashes = entries.get(_HASH_TABLE)
        return cls(
            metadata=None if metadata is None else _sections(data, metadata),
            hash_table=None if hashes is None else _hash_table(hashes),
        )

    @property
    def has_sev_metadata(self) -> bool:
        """True if the firmware has the SEV metadata that a SEV-SNP guest needs.

        Without metadata, QEMU does not start the guest. Without the pages for secrets
        and for CPUID values, the guest's firmware does not get far.
        """
        kinds = {section.kind for section in self.metadata or ()}
        return kinds >= {SectionKind.SECRETS, SectionKind.CPUID}

    def measures_kernel(self, model: MemoryEncryptionModel) -> bool:
        """Return whether the launch measurement can include a kernel's hashes.

        Without a table, QEMU does not start a guest with ``kernelHashes``. For SEV-SNP
        the table must be a section of the metadata as well, or nothing is measured.
        """
        if self.hash_table is None:
            return False
        if model is not MemoryEncryptionModel.AMD_SEV_SNP:
            return True
        kinds = [section.kind for section in self.metadata or ()]
        return SectionKind.KERNEL_HASHES in kinds


def _entries(data: bytes) -> dict[bytes, bytes]:
    """Return the entries of OVMF's table by GUID; of two, the last one in the file."""
    at = len(data) - _BEHIND_TABLE - _ENTRY.size
    if at < 0:
        return {}
    length, guid = _ENTRY.unpack_from(data, at)
    if guid != _TABLE:
        return {}
    start = at + _ENTRY.size - length
    found: dict[bytes, bytes] = {}
    while at - _ENTRY.size >= max(start, 0):
        tail = at - _ENTRY.size
        length, guid = _ENTRY.unpack_from(data, tail)
        before = at - length
        if length < _ENTRY.size or before < max(start, 0):
            break
        found.setdefault(guid, data[before:tail])
        at = before
    return found


def _hash_table(entry: bytes) -> Area | None:
    """Return the table's place; firmware built without one has an entry of zeros."""
    if len(entry) < _AREA.size:
        raise MalformedFirmware(
            f"guest firmware: the entry of the hash table has {len(entry)} bytes"
        )
    base, size = _AREA.unpack_from(entry)
    if not base or size < _HASH_TABLE_BYTES:
        return None
    return Area(base, size)


def _sections(data: bytes, entry: bytes) -> tuple[Area, ...]:
    if len(entry) < _OFFSET.size:
        raise MalformedFirmware(
            f"guest firmware: the entry of the SEV metadata has {len(entry)} bytes"
        )
    at = len(data) - _OFFSET.unpack_from(entry)[0]
    if at < 0 or at + _HEADER.size > len(data):
        raise MalformedFirmware("guest firmware: the SEV metadata is not in the file")
    signature, length, version, count = _HEADER.unpack_from(data, at)
    if signature != b"ASEV" or version != 1:
        raise MalformedFirmware(
            f"guest firmware: the SEV metadata begins with {signature.hex()}, version "
            f"{version}"
        )
    first = at + _HEADER.size
    end = first + count * _SECTION.size
    if end > min(at + length, len(data)):
        raise MalformedFirmware(
            f"guest firmware: {count} sections of SEV metadata are not in the file"
        )
    return tuple(Area(*fields) for fields in _SECTION.iter_unpack(data[first:end]))


def read(path: str, of: Source = LOCAL) -> GuestFirmware:
    """Read a guest firmware's file.

    If it raises an error, what the firmware has is unknown.

    :param of: the machine to read from.
    :raises OSError: the file cannot be read, for example because nova-compute runs in
        a container without it.
    :raises MalformedFirmware: see :meth:`GuestFirmware.parse`.
    """
    data = files.read(of, path, FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise MalformedFirmware(
            f"guest firmware: {path} has more than {FILE_BYTES >> 20} MiB"
        )
    return GuestFirmware.parse(data)


def select(
    view: FirmwareView | None,
    model: MemoryEncryptionModel,
    *,
    secure_boot: bool = False,
    stateless: bool = False,
    loaders: Iterable[str] | None = None,
) -> FirmwareDescriptor | None:
    """Return the descriptor that libvirt selects for a q35 guest; None if unknown.

    It takes the first one that fits (libvirt, src/qemu/qemu_firmware.c).

    :param view: the descriptors that this process can read; None if it can read none.
    :param secure_boot: true if the guest's XML asks for Secure Boot; else it asks for
        a firmware without Secure Boot and without enrolled keys.
    :param stateless: true if the XML asks for a firmware that stores no variables.
    :param loaders: the firmware files that libvirt knows, as for
        :meth:`FirmwareView.offers`.
    """
    if view is None or not view.complete:
        return None
    known = {descriptor.filename for descriptor in view.descriptors}
    if not known.issuperset(loaders or ()):
        return None
    stateless = stateless or model is MemoryEncryptionModel.AMD_SEV_SNP
    for descriptor in view.descriptors:
        if not descriptor.fits(model):
            continue
        features = descriptor.features
        if stateless and not descriptor.is_stateless:
            continue
        if secure_boot and "secure-boot" in features:
            return descriptor
        if not secure_boot and not features & {
            "secure-boot",
            "enrolled-keys",
            "requires-smm",
        }:
            return descriptor
    return None
