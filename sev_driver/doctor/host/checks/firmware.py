# SPDX-License-Identifier: Apache-2.0

"""The firmware of guests: which descriptors fit, and which one libvirt takes."""

from __future__ import annotations

import pathlib

from sev_driver.doctor.host.evidence import (
    Descriptor,
    Evidence,
    Fact,
    FirmwareContents,
)
from sev_driver.doctor.host.tree import (
    Outcome,
    check,
    failed,
    passed,
    skipped,
    warned,
)
from sev_driver.host import guest_firmware
from sev_driver.host.capabilities import ObstacleKind, Support
from sev_driver.model import SEV_SNP, MemoryEncryptionModel
from sev_driver.placement.providers import firmware_trait

_FOLDERS = "/usr/share/qemu/firmware, /etc/qemu/firmware"


@check(
    "firmware.readable",
    "Firmware descriptors",
    _FOLDERS,
    parent="processor.physical",
)
def _readable(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    view = evidence.facts.firmware
    if view is None:
        return skipped("there is no folder of firmware descriptors here")
    wrong = [each for each in evidence.descriptors if each.firmware is None]
    if wrong:
        words = ", ".join(f"{each.path} ({each.error[:80]})" for each in wrong)
        return warned(words, "correct or remove them")
    if not view.complete:
        return skipped("some cannot be read; run sev-doctor as root")
    return passed(f"{len(evidence.descriptors)} in {' and '.join(view.folders)}")


def fitting(evidence: Evidence, model: MemoryEncryptionModel) -> list[Descriptor]:
    """Return the descriptors that fit ``model``: libvirt takes the first.

    That holds for a guest that names only its launchSecurity; one that asks for
    Secure Boot, too, or names its loader, gets another.
    """
    return [
        each
        for each in evidence.descriptors
        if each.firmware is not None and each.firmware.fits(model)
    ]


def _remedy(model: MemoryEncryptionModel) -> str:
    feature = model.firmware_feature
    mapping = "memory" if model is MemoryEncryptionModel.AMD_SEV_SNP else "flash"
    return (
        f"install OVMF built for it (Debian's ovmf-amdsev), or write "
        f"/etc/qemu/firmware/70-{feature}.json for one that you have built: a copy of "
        f"another descriptor there with {feature} in its features, and the firmware "
        f"mapped as {mapping}"
    )


@check(
    "firmware.descriptor",
    "Guest firmware for the model",
    _FOLDERS,
    parent="firmware.readable",
)
def _descriptor(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    capability = evidence.capabilities[model]
    if capability.obstacle is ObstacleKind.NO_FIRMWARE:
        return failed(capability.reason, _remedy(model))
    if evidence.facts.firmware is None:
        return skipped("there is no folder of firmware descriptors here")
    found = fitting(evidence, model)
    if not found:
        if not evidence.facts.firmware.complete:
            return skipped("some cannot be read; run sev-doctor as root")
        return warned(
            f"none has {model.firmware_feature}, and libvirt may know others",
            _remedy(model),
        )
    first = found[0]
    assert first.firmware is not None  # nosec B101  # for mypy
    words = f"{first.path} is the first that fits: {first.firmware.filename}"
    if first.file.absent:
        name = pathlib.PurePath(first.path).name
        return failed(
            f"{words}, and there is no such file",
            f"install the package that has {first.firmware.filename}, or have libvirt "
            f"take the next descriptor: touch /etc/qemu/firmware/{name}",
        )
    return passed(words)


_SELECTED = "the file of the guest firmware that libvirt selects"


def _selected(
    evidence: Evidence, model: MemoryEncryptionModel
) -> tuple[str, Fact[FirmwareContents]]:
    """Return the guest firmware that libvirt selects, by the driver's own rule.

    :return: its file, empty if it is unknown, and what it has for SEV.
    """
    domain = evidence.facts.domain
    loaders = domain.loaders if domain else None
    found = guest_firmware.select(evidence.facts.firmware, model, loaders=loaders)
    if found is None:
        return "", Fact(unknown="which guest firmware libvirt selects is not known")
    for each in evidence.descriptors:
        if each.firmware is not None and each.firmware.filename == found.filename:
            return found.filename, each.contents
    return found.filename, Fact()


def _unread(path: str, contents: Fact[FirmwareContents]) -> Outcome:
    why = contents.unknown or "it was not read"
    return skipped(f"{path}: {why}" if path else why)


@check(
    "firmware.sev-metadata",
    "SEV metadata of the guest firmware",
    _SELECTED,
    parent="firmware.descriptor",
    models=frozenset({SEV_SNP}),
)
def _sev_metadata(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    path, contents = _selected(evidence, model)
    if contents.value is None:
        return _unread(path, contents)
    if contents.value.has_sev_metadata:
        trait = firmware_trait(contents.value.sha256)
        return passed(f"{path} has it; its trait in Placement is {trait}")
    return failed(
        f"{path} does not say where the secure processor puts secrets and CPUID "
        f"values: no guest of {model.title} starts with it",
        _remedy(model),
    )


@check(
    "firmware.kernel-hashes",
    "Measurement of an image's kernel",
    _SELECTED,
    parent="firmware.descriptor",
)
def _kernel_hashes(evidence: Evidence, model: MemoryEncryptionModel) -> Outcome:
    if evidence.capabilities[model].support is Support.NO:
        return skipped("guests of this model do not run here")
    path, contents = _selected(evidence, model)
    if contents.value is None:
        return _unread(path, contents)
    if model in contents.value.measures_kernel:
        return passed(f"{path} has a place for the hashes of a kernel")
    return warned(
        f"{path} has no place for the hashes of a kernel: encrypted servers whose "
        f"image has a kernel (kernel_id) are refused on this host",
        "if there are such images, install ovmf-amdsev or another OVMF built from "
        "AmdSevX64.dsc",
    )
