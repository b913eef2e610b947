# SPDX-License-Identifier: Apache-2.0
"""guest_firmware: the tables for SEV in a firmware's file, and libvirt's selection."""

import contextlib
import pathlib
import struct

import ovmf_file
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovmf_file import HASHES_AT, KERNEL_HASHES, SECTIONS, entry, metadata, ovmf, table

from sev_driver.exceptions import MalformedFirmware
from sev_driver.host import guest_firmware
from sev_driver.host.firmware import FirmwareDescriptor, FirmwareView
from sev_driver.host.guest_firmware import Area, GuestFirmware, SectionKind, select
from sev_driver.model import SEV, SEV_ES, SEV_SNP, MemoryEncryptionModel

MODELS = (SEV, SEV_ES, SEV_SNP)


def measures(data: bytes) -> set[MemoryEncryptionModel]:
    firmware = GuestFirmware.parse(data)
    return {model for model in MODELS if firmware.measures_kernel(model)}


def test_metadata_and_hash_table() -> None:
    firmware = GuestFirmware.parse(ovmf_file.amdsev())
    assert firmware.metadata is not None
    assert firmware.metadata[0] == Area(0x800000, 0x9000, SectionKind.SEC_MEMORY)
    assert firmware.metadata[-1].kind == SectionKind.KERNEL_HASHES
    assert firmware.hash_table == Area(*HASHES_AT)


@pytest.mark.parametrize(
    ("data", "has_metadata", "models"),
    [
        (ovmf_file.amdsev(), True, set(MODELS)),
        # OvmfPkgX64 has the entry, and zeros in it.
        (ovmf_file.debian(), True, set()),
        (ovmf(*SECTIONS, hashes_at=None), True, set()),
        # QEMU would put the hashes into memory that SEV-SNP does not measure.
        (ovmf(*SECTIONS, hashes_at=HASHES_AT), True, {SEV, SEV_ES}),
        (ovmf(*SECTIONS, KERNEL_HASHES), True, set()),
        # Too small for three hashes.
        (ovmf(*SECTIONS, KERNEL_HASHES, hashes_at=(0x80FC00, 175)), True, set()),
        (ovmf(hashes_at=HASHES_AT), False, {SEV, SEV_ES}),
        # Metadata without the page for secrets, or that for CPUID values.
        (ovmf(*SECTIONS[:2], SECTIONS[3]), False, set()),
        (ovmf(*SECTIONS[:3], SECTIONS[4]), False, set()),
        (ovmf(hashes_at=None), False, set()),
        # Not OVMF, and nothing at all.
        (bytes(4096), False, set()),
        (b"", False, set()),
    ],
)
def test_kernel_is_measured(
    data: bytes, has_metadata: bool, models: set[MemoryEncryptionModel]
) -> None:
    assert GuestFirmware.parse(data).has_sev_metadata is has_metadata
    assert measures(data) == models


HASHES = entry(ovmf_file.HASH_TABLE, struct.pack("<II", *HASHES_AT))
BEHIND = bytes(32)


@pytest.mark.parametrize(
    "end",
    [
        # QEMU stops at an entry without length, and at one longer than the table.
        table(HASHES, struct.pack("<H", 0) + ovmf_file.ES_RESET.bytes_le),
        table(HASHES, struct.pack("<H", 17) + ovmf_file.ES_RESET.bytes_le),
        table(HASHES, struct.pack("<H", 999) + ovmf_file.ES_RESET.bytes_le),
        # The table's own length leaves the entry out.
        HASHES + table(),
        HASHES + struct.pack("<H", 0) + ovmf_file.TABLE.bytes_le,
    ],
)
def test_entry_that_qemu_does_not_find(end: bytes) -> None:
    assert GuestFirmware.parse(bytes(4096) + end + BEHIND) == GuestFirmware()


def test_of_two_entries_qemu_takes_the_last() -> None:
    other = entry(ovmf_file.HASH_TABLE, struct.pack("<II", 0x1000, 0x1000))
    data = bytes(4096) + table(other, HASHES) + BEHIND
    assert GuestFirmware.parse(data).hash_table == Area(*HASHES_AT)


def with_metadata(found: bytes, offset: int = 512) -> bytes:
    end = table(entry(ovmf_file.METADATA, struct.pack("<I", offset))) + BEHIND
    return bytes(4096 - 512) + found + bytes(512 - len(found) - len(end)) + end


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"QFI\xfb" + bytes(4096), "a QCOW2 image"),
        (with_metadata(b"WXYZ" + metadata(*SECTIONS)[4:]), "begins with 5758595a"),
        (with_metadata(metadata(*SECTIONS)[:8] + b"\2" + bytes(7)), "version 2"),
        (with_metadata(metadata(), offset=5000), "is not in the file"),
        (with_metadata(metadata(), offset=3), "is not in the file"),
        (with_metadata(metadata()[:12] + b"\xff" * 4), "4294967295 sections"),
        (with_metadata(metadata()[:12] + b"\1\0\0\0"), "1 sections"),
        (bytes(64) + table(entry(ovmf_file.METADATA, b"\1\2")) + BEHIND, "2 bytes"),
        (bytes(64) + table(entry(ovmf_file.HASH_TABLE, b"\1")) + BEHIND, "1 bytes"),
    ],
)
def test_malformed_firmware_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(MalformedFirmware, match=words):
        GuestFirmware.parse(data)


@given(st.binary(max_size=300), st.binary(max_size=100), st.integers(0, 2**16 - 1))
def test_any_bytes_are_a_value_or_an_error(body: bytes, more: bytes, size: int) -> None:
    """Also in a table, of which mere bytes would seldom be one."""
    footer = struct.pack("<H", size) + ovmf_file.TABLE.bytes_le
    hashes, meta = (
        entry(guid, more) for guid in (ovmf_file.HASH_TABLE, ovmf_file.METADATA)
    )
    for data in (body, body + footer + BEHIND, table(body, hashes, meta) + BEHIND):
        with contextlib.suppress(MalformedFirmware):
            firmware = GuestFirmware.parse(data)
            assert firmware.hash_table is None or firmware.hash_table.size >= 176


def test_read(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "OVMF.fd"
    with pytest.raises(FileNotFoundError):
        guest_firmware.read(str(path))
    path.write_bytes(ovmf_file.amdsev())
    assert guest_firmware.read(str(path)) == GuestFirmware.parse(ovmf_file.amdsev())
    monkeypatch.setattr(guest_firmware, "FILE_BYTES", 4096)
    with pytest.raises(MalformedFirmware, match="more than"):
        guest_firmware.read(str(path))


def described(
    *features: str, device: str = "flash", mode: str = ""
) -> FirmwareDescriptor:
    name = f"/{'-'.join((*features, device, mode))}.fd"
    return FirmwareDescriptor(
        name,
        device,
        frozenset({"uefi"}),
        ("pc-q35-*",),
        frozenset(features),
        mode=mode,
    )


ENROLLED = described("amd-sev", "enrolled-keys", "requires-smm", "secure-boot")
SECURE = described("amd-sev", "requires-smm", "secure-boot")
PLAIN = described("amd-sev", "amd-sev-es")
STATELESS = described("amd-sev", "amd-sev-es", mode="stateless")
ROM = described("amd-sev", "amd-sev-es", "amd-sev-snp", device="memory")
VIEW = FirmwareView(("/f",), (ENROLLED, SECURE, PLAIN, STATELESS, ROM))


@pytest.mark.parametrize(
    ("model", "secure_boot", "stateless", "selected"),
    [
        (SEV, False, False, PLAIN),
        (SEV, False, True, STATELESS),
        (SEV, True, False, ENROLLED),
        (SEV, True, True, None),
        (SEV_ES, False, False, PLAIN),
        # SEV-SNP has no other.
        (SEV_SNP, False, False, ROM),
        (SEV_SNP, False, True, ROM),
        (SEV_SNP, True, False, None),
    ],
)
def test_libvirt_selects_the_first_that_fits(
    model: MemoryEncryptionModel,
    secure_boot: bool,
    stateless: bool,
    selected: FirmwareDescriptor | None,
) -> None:
    found = select(VIEW, model, secure_boot=secure_boot, stateless=stateless)
    assert found is selected


def test_selection_is_unknown_where_descriptors_are() -> None:
    assert select(None, SEV) is None
    assert select(FirmwareView(("/f",), (PLAIN,), complete=False), SEV) is None
    assert select(VIEW, SEV, loaders=["/of/another/container.fd"]) is None
    assert select(VIEW, SEV, loaders=[PLAIN.filename]) is PLAIN
