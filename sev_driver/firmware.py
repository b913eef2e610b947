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
"""QEMU's firmware descriptors: which firmware fits which model."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sev_driver.exceptions import MalformedFirmware
from sev_driver.model import MemoryEncryptionModel

#: What a descriptor calls a firmware that can start such a guest.
FEATURES: Final = {
    MemoryEncryptionModel.AMD_SEV: "amd-sev",
    MemoryEncryptionModel.AMD_SEV_ES: "amd-sev-es",
    MemoryEncryptionModel.AMD_SEV_SNP: "amd-sev-snp",
}

#: Descriptors name machines by patterns, such as pc-q35-*.
_A_MACHINE = "pc-q35-9.1"
#: Far above any machine's name: what is longer takes long to compare.
_PATTERN = 100


@dataclasses.dataclass(frozen=True)
class FirmwareDescriptor:
    """What one descriptor says; ``device`` is how QEMU maps the file."""

    filename: str
    device: str
    interfaces: frozenset[str]
    machines: tuple[str, ...]
    features: frozenset[str]

    @classmethod
    def parse(cls, text: str | bytes) -> FirmwareDescriptor:
        """Read a descriptor as QEMU's ``docs/interop/firmware.json`` has it.

        :raises MalformedFirmware: it is not of that form.
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
        )

    def fits(self, model: MemoryEncryptionModel) -> bool:
        """Whether a q35 guest of ``model`` can start from it.

        From SEV-ES on there is no system management mode, and SEV-SNP takes its
        firmware as a ROM alone, not as flash.
        """
        if "uefi" not in self.interfaces or FEATURES[model] not in self.features:
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
    """The descriptors that this process sees.

    ``folders`` names where they are; ``complete`` is False where one of them could
    not be read, so that what is not seen may still be there.
    """

    folders: tuple[str, ...]
    descriptors: tuple[FirmwareDescriptor, ...]
    complete: bool = True

    def offers(
        self, model: MemoryEncryptionModel, loaders: Iterable[str] | None = None
    ) -> bool | None:
        """Whether some firmware fits ``model``; None where that cannot be told.

        :param loaders: the firmware files that libvirt knows. One that no
            descriptor here names tells that libvirt looks into other folders, as
            in a container of its own.
        """
        if any(descriptor.fits(model) for descriptor in self.descriptors):
            return True
        known = {descriptor.filename for descriptor in self.descriptors}
        if not self.complete or not known.issuperset(loaders or ()):
            return None
        return False


def in_force(folders: Iterable[Mapping[str, bytes]]) -> list[bytes]:
    """Return the descriptors that count, of folders from the least to the most.

    A file takes the place of those of the same name in the folders before; an
    empty one only masks them.
    """
    numbered = {str(number): folder for number, folder in enumerate(folders)}
    return list(paths_in_force(numbered).values())


def paths_in_force(folders: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
    """Return the same by path, the one first that libvirt looks at first.

    :param folders: what is in each, from the least to the most.
    """
    found: dict[str, tuple[str, bytes]] = {}
    for folder, files in folders.items():
        for name, data in files.items():
            if not name.startswith("."):
                found[name] = f"{folder}/{name}", data
    return dict(found[name] for name in sorted(found) if found[name][1])


def view(
    folders: Iterable[str], files: Iterable[Mapping[str, bytes]], complete: bool = True
) -> FirmwareView:
    """Return what the descriptors in ``files``, one mapping a folder, say."""
    descriptors = []
    for data in in_force(files):
        try:
            descriptors.append(FirmwareDescriptor.parse(data))
        except MalformedFirmware:
            complete = False
    return FirmwareView(tuple(folders), tuple(descriptors), complete)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedFirmware(f"firmware descriptor: {what} is no object")
    return value


def _texts(root: dict[str, Any], name: str) -> list[str]:
    found = root.get(name, [])
    if not isinstance(found, list):
        raise MalformedFirmware(f"firmware descriptor: {name} is no list")
    return [_text(item, f"an item of {name}") for item in found]


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise MalformedFirmware(f"firmware descriptor: {what} is no text")
    return value


def _filename(mapping: dict[str, Any]) -> str:
    """Return the file of the firmware's code, wherever its mapping keeps it."""
    executable = mapping.get("executable")
    holder = mapping if executable is None else _object(executable, "executable")
    filename = holder.get("filename")
    if not isinstance(filename, str):
        raise MalformedFirmware("firmware descriptor: the mapping names no file")
    return filename


def _x86_machines(root: dict[str, Any]) -> list[str]:
    targets = root.get("targets", [])
    if not isinstance(targets, list):
        raise MalformedFirmware("firmware descriptor: targets is no list")
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
    except re.error:  # [z-a], in Python older than 3.9.13
        return False
