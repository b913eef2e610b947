# SPDX-License-Identifier: Apache-2.0
"""firmware: what a descriptor offers, and which descriptors count."""

import contextlib
import dataclasses
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.exceptions import MalformedFirmware
from sev_driver.host import firmware
from sev_driver.host.firmware import FirmwareDescriptor, FirmwareView
from sev_driver.model import MemoryEncryptionModel

SEV, SEV_ES, SEV_SNP = MemoryEncryptionModel


def descriptor(*features: str, **changes: Any) -> dict[str, Any]:
    """A descriptor in the form that QEMU documents."""
    document = {
        "description": "made for this test",
        "interface-types": ["uefi"],
        "mapping": {"device": "memory", "filename": "/usr/share/OVMF/OVMF.amdsev.fd"},
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": list(features),
        "tags": [],
    }
    return document | changes


FLASH = {
    "device": "flash",
    "executable": {"filename": "/usr/share/OVMF/OVMF_CODE.fd", "format": "raw"},
    "nvram-template": {"filename": "/usr/share/OVMF/OVMF_VARS.fd", "format": "raw"},
}
ALL = ("amd-sev", "amd-sev-es", "amd-sev-snp")


@pytest.mark.parametrize(
    ("document", "fits"),
    [
        (descriptor(*ALL), {SEV, SEV_ES, SEV_SNP}),
        # Debian 12 and 13: no more than plain SEV.
        (descriptor("amd-sev", "verbose-dynamic", mapping=FLASH), {SEV}),
        # No ROM, so nothing for SEV-SNP.
        (descriptor(*ALL, mapping=FLASH), {SEV, SEV_ES}),
        (descriptor(*ALL, "requires-smm", mapping=FLASH), {SEV}),
        (descriptor(*ALL, **{"interface-types": ["bios"]}), set()),
        (descriptor(*ALL, targets=[]), set()),
        (
            descriptor(
                *ALL, targets=[{"architecture": "aarch64", "machines": ["virt-*"]}]
            ),
            set(),
        ),
        (
            descriptor(
                *ALL, targets=[{"architecture": "x86_64", "machines": ["pc-*"]}]
            ),
            {SEV, SEV_ES, SEV_SNP},
        ),
        (
            descriptor(
                *ALL,
                targets=[{"architecture": "x86_64", "machines": ["pc-i440fx-*"]}],
            ),
            set(),
        ),
        (
            descriptor(
                *ALL,
                targets=[{"architecture": "x86_64", "machines": ["pc-q35-rhel9.6.0"]}],
            ),
            {SEV, SEV_ES, SEV_SNP},
        ),
    ],
)
def test_which_models_a_descriptor_fits(
    document: dict[str, Any], fits: set[MemoryEncryptionModel]
) -> None:
    found = FirmwareDescriptor.parse(json.dumps(document))
    assert {model for model in MemoryEncryptionModel if found.fits(model)} == fits


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps(descriptor(mapping=None)),
        json.dumps(descriptor(mapping={"device": "memory"})),
        json.dumps(descriptor(mapping={"device": "flash", "executable": []})),
        json.dumps(descriptor(features="amd-sev")),
        json.dumps(descriptor(targets={})),
        json.dumps(descriptor(targets=["x86_64"])),
        "[" * 100_000,
        json.dumps(descriptor(mapping={"filename": "/a"})),
        json.dumps(descriptor(mapping={"filename": "/a", "device": ["flash"]})),
        json.dumps(descriptor(["amd-sev"])),
        json.dumps(descriptor(targets=[{"architecture": "x86_64", "machines": [1]}])),
    ],
)
def test_what_is_no_descriptor_is_told(text: str) -> None:
    with pytest.raises(MalformedFirmware):
        FirmwareDescriptor.parse(text)


@pytest.mark.parametrize("pattern", ["*a" * 100_000, "[z-a]", "["])
def test_an_odd_pattern_fits_no_machine_and_takes_no_time(pattern: str) -> None:
    targets = [{"architecture": "x86_64", "machines": [pattern]}]
    found = FirmwareDescriptor.parse(json.dumps(descriptor(*ALL, targets=targets)))
    start = time.process_time()
    assert not found.fits(SEV)
    assert time.process_time() - start < 1


def test_a_later_folder_goes_before_an_earlier_one() -> None:
    distribution = {"50-a.json": b"1", "60-b.json": b"2", "70-c.json": b"3"}
    operator = {"60-b.json": b"mine", "70-c.json": b"", ".hidden": b"4"}
    folders = {"/usr": distribution, "/etc": operator}
    assert firmware.paths_in_force(folders) == {
        "/usr/50-a.json": b"1",
        "/etc/60-b.json": b"mine",
    }


def of(*documents: dict[str, Any], complete: bool = True) -> FirmwareView:
    files = {str(i): json.dumps(item).encode() for i, item in enumerate(documents)}
    return firmware.view(["/f"], {"/f": files}, complete)


@pytest.mark.parametrize(
    ("view", "loaders", "offers"),
    [
        (of(descriptor(*ALL)), (), True),
        (of(descriptor("amd-sev")), (), False),
        (of(), (), False),
        # libvirt knows the same firmware, or one that nothing here describes.
        (of(descriptor("amd-sev")), ("/usr/share/OVMF/OVMF.amdsev.fd",), False),
        (of(descriptor("amd-sev")), ("/elsewhere/OVMF.fd",), None),
        (of(descriptor(*ALL)), ("/elsewhere/OVMF.fd",), True),
        (of(complete=False), (), None),
        (firmware.view(["/f"], {"/f": {"a": b"nonsense"}}), (), None),
    ],
)
def test_what_a_view_offers(
    view: FirmwareView, loaders: tuple[str, ...], offers: bool | None
) -> None:
    assert view.offers(SEV_SNP, loaders) is offers


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*descriptor(), "filename", "device", "executable"]),
            inner,
            max_size=5,
        )
    ),
)


@given(st.binary(max_size=100), JSON)
def test_any_input_is_a_descriptor_or_our_error(data: bytes, value: Any) -> None:
    for text in (data, json.dumps(value), json.dumps(descriptor(**{"mapping": value}))):
        with contextlib.suppress(MalformedFirmware):
            found = FirmwareDescriptor.parse(text)
            assert isinstance(found.filename, str)
            for model in MemoryEncryptionModel:
                found.fits(model)


def test_descriptors_are_values() -> None:
    found = FirmwareDescriptor.parse(json.dumps(descriptor(*ALL)))
    assert dataclasses.replace(found) == found
