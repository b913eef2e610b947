# SPDX-License-Identifier: Apache-2.0

"""QEMU's firmware descriptors, and which guest firmware suits which model."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sev_driver.exceptions import MalformedFirmware
from sev_driver.model import MemoryEncryptionModel

#: The machine to which the descriptors' patterns, such as pc-q35-*, are applied.
_A_MACHINE = "pc-q35-9.1"
#: The longest pattern that is compared, far above any machine's name.
_PATTERN = 100


@dataclasses.dataclass(frozen=True)
class FirmwareDescriptor:
    """The contents of one descriptor; ``device`` is how QEMU maps the file.

    ``mode`` is that of flash, such as ``split``, if the descriptor names it.
    """

    filename: str
    device: str
    interfaces: frozenset[str]
    machines: tuple[str, ...]
    features: frozenset[str]
    path: str = ""
    mode: str = ""

    @classmethod
    def parse(cls, text: str | bytes, path: str = "") -> FirmwareDescriptor:
        """Parse a descriptor as defined in QEMU's ``docs/interop/firmware.json``.

        :raises MalformedFirmware: the descriptor does not have that form.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MalformedFirmware(f"firmware descriptor: {error}") from error
        root = _object(document, "the document")
        mapping = _object(root.get("mapping"), "mapping")
        return cls(
            filename=_filename(mapping),
            device=_text(mapping.get("device"), "device"),
            interfaces=frozenset(_texts(root, "interface-types")),
            machines=tuple(_x86_machines(root)),
            features=frozenset(_texts(root, "features")),
            path=path,
            mode=_text(mapping.get("mode", ""), "mode"),
        )

    @property
    def is_stateless(self) -> bool:
        """True if the firmware stores no variables."""
        return self.device == "memory" or self.mode == "stateless"

    def misfit(self, model: MemoryEncryptionModel) -> str | None:
        """Return why a firmware that claims to suit ``model`` does not, else None."""
        if model.firmware_feature not in self.features or self.fits(model):
            return None
        if "uefi" not in self.interfaces:
            return "is not UEFI"
        if not any(_for_q35(pattern) for pattern in self.machines):
            return "is not for machines of type q35"
        if "requires-smm" in self.features:
            return "requires SMM"
        needed = "memory" if model is MemoryEncryptionModel.AMD_SEV_SNP else "flash"
        return f"maps its firmware as {self.device}, and not as {needed}"

    def fits(self, model: MemoryEncryptionModel) -> bool:
        """Return whether a q35 guest of ``model`` can start with this firmware.

        SEV-ES and SEV-SNP guests have no System Management Mode. SEV-SNP guests need
        the firmware as a ROM, not as flash.
        """
        if "uefi" not in self.interfaces or model.firmware_feature not in self.features:
            return False
        if not any(_for_q35(pattern) for pattern in self.machines):
            return False
        if model is MemoryEncryptionModel.AMD_SEV:
            return True
        if "requires-smm" in self.features:
            return False
        snp = model is MemoryEncryptionModel.AMD_SEV_SNP
        return self.device == "memory" if snp else self.device in ("memory", "flash")


@dataclasses.dataclass(frozen=True)
class FirmwareView:
    """The descriptors that this process can read.

    ``folders`` names their directories; ``complete`` is False if a directory or a
    descriptor could not be read.
    """

    folders: tuple[str, ...]
    descriptors: tuple[FirmwareDescriptor, ...]
    complete: bool = True

    def offers(
        self, model: MemoryEncryptionModel, loaders: Iterable[str] | None = None
    ) -> bool | None:
        """Return whether a firmware suits ``model``; None if unknown.

        :param loaders: the firmware files that libvirt knows. If no descriptor names
            one of them, libvirt reads other directories, for example in another
            container.
        """
        if any(descriptor.fits(model) for descriptor in self.descriptors):
            return True
        known = {descriptor.filename for descriptor in self.descriptors}
        if not self.complete or not known.issuperset(loaders or ()):
            return None
        return False


def paths_in_force(folders: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
    """Return the descriptors in force by path, in the order that libvirt uses.

    A file replaces the files of the same name in the directories before; an empty file
    only masks them.

    :param folders: the files of each directory, by ascending priority.
    """
    found: dict[str, tuple[str, bytes]] = {}
    for folder, files in folders.items():
        for name, data in files.items():
            if not name.startswith("."):
                found[name] = f"{folder}/{name}", data
    return dict(found[name] for name in sorted(found) if found[name][1])


def view(
    folders: Iterable[str],
    files: Mapping[str, Mapping[str, bytes]],
    complete: bool = True,
) -> FirmwareView:
    """Parse the descriptors in ``files``, by directory and name."""
    descriptors = []
    for path, data in paths_in_force(files).items():
        try:
            descriptors.append(FirmwareDescriptor.parse(data, path))
        except MalformedFirmware:
            complete = False
    return FirmwareView(tuple(folders), tuple(descriptors), complete)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedFirmware(f"firmware descriptor: {what} is not an object")
    return value


def _texts(root: dict[str, Any], name: str) -> list[str]:
    found = root.get(name, [])
    if not isinstance(found, list):
        raise MalformedFirmware(f"firmware descriptor: {name} is not a list")
    return [_text(item, f"an item of {name}") for item in found]


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise MalformedFirmware(f"firmware descriptor: {what} is not a string")
    return value


def _filename(mapping: dict[str, Any]) -> str:
    """Return the file with the firmware's code."""
    executable = mapping.get("executable")
    holder = mapping if executable is None else _object(executable, "executable")
    filename = holder.get("filename")
    if not isinstance(filename, str):
        raise MalformedFirmware("firmware descriptor: the mapping names no file")
    return filename


def _x86_machines(root: dict[str, Any]) -> list[str]:
    targets = root.get("targets", [])
    if not isinstance(targets, list):
        raise MalformedFirmware("firmware descriptor: targets is not a list")
    found: list[str] = []
    for target in targets:
        target = _object(target, "a target")
        if target.get("architecture") == "x86_64":
            found += _texts(target, "machines")
    return found


def _for_q35(pattern: str) -> bool:
    if pattern.startswith("pc-q35"):
        return True
    if len(pattern) > _PATTERN:
        return False
    try:
        return fnmatch.fnmatchcase(_A_MACHINE, pattern)
    except re.error:  # such as [z-a], in Python older than 3.9.13
        return False
