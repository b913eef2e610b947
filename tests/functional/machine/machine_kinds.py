# SPDX-License-Identifier: Apache-2.0

"""The images and flavors of the state machine, and what each asks for, by hand.

What a server asks for stands here as data, and is not computed by the code under
test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import generations
import novas
from generations import ES, SEV, SNP
from nova_cloud import ASKED_BY_FLAVOR, ASKED_BY_IMAGE, UEFI

from sev_driver.model import MemoryEncryptionModel as Model
from sev_driver.placement import providers

SLOT = "MEM_ENCRYPTION_CONTEXT"
#: What asks for the encryption of another vendor: never AMD's to run in the clear.
TDX = "intel-tdx"
EVERY_MODEL = frozenset(Model)
Q35 = {"hw_machine_type": "q35"}
STATELESS = {"hw_firmware_stateless": "true"}
#: A trait of one host.
ELSEWHERE = "CUSTOM_ELSEWHERE"


@dataclasses.dataclass(frozen=True)
class Image:
    """An image.

    ``asks`` is the model that it asks for itself, ``fits`` those with which a
    guest of it can run where a flavor asks. ``only_on`` is the host that has the trait
    that it requires: nova-conductor refuses a rebuild from it anywhere else.
    """

    properties: Mapping[str, str]
    fits: frozenset[Model] = frozenset()
    asks: Model | str | None = None
    denies: bool = False
    only_on: str | None = None


@dataclasses.dataclass(frozen=True)
class Flavor:
    """A flavor; ``only_ours`` where its model is asked for by our key alone."""

    specs: Mapping[str, str]
    asks: Model | None = None
    only_ours: bool = False
    vcpus: int = 1


def _key_of_ours(model: Model) -> dict[str, str]:
    """Return the flavor that the manual gives for every release."""
    trait = providers.choose(model, providers.is_standard(model)).wanted
    return {
        "sev:model": model.value,
        f"resources:{SLOT}": "1",
        f"trait:{trait}": "required",
    }


IMAGES = {
    "bios": Image({}),
    "uefi": Image(UEFI, frozenset({SEV, ES})),
    "q35": Image(UEFI | Q35, frozenset({SEV, ES})),
    "stateless": Image(UEFI | STATELESS | Q35, EVERY_MODEL),
    "asking": Image(ASKED_BY_IMAGE | Q35, frozenset({SEV, ES}), asks=SEV),
    "usb": Image(UEFI | {"hw_disk_bus": "usb"}),
    "ide": Image(UEFI | {"hw_disk_bus": "ide"}),
    "elsewhere": Image(
        UEFI | Q35 | {f"trait:{ELSEWHERE}": "required"},
        frozenset({SEV, ES}),
        only_on="ours-2",
    ),
    "asking-elsewhere": Image(
        ASKED_BY_IMAGE | Q35 | {f"trait:{ELSEWHERE}": "required"},
        frozenset({SEV, ES}),
        asks=SEV,
        only_on="ours-2",
    ),
    "denying": Image(UEFI | Q35 | {"hw_mem_encryption": "false"}, denies=True),
}
if novas.RELEASE >= 32:
    named = {"hw_mem_encryption_model": ES.value}
    IMAGES["asking-es"] = Image(ASKED_BY_IMAGE | Q35 | named, frozenset({ES}), asks=ES)
if novas.RELEASE >= 34:
    named = {"hw_mem_encryption_model": TDX, "hw_video_model": "none"}
    IMAGES["tdx"] = Image(ASKED_BY_IMAGE | Q35 | STATELESS | named, asks=TDX)

#: Rescue images: none may change whether what runs is encrypted.
RESCUE_IMAGES = {
    "rescue-plain": {},
    "rescue-pc": {"hw_machine_type": "pc"},
    "rescue-bios": {"hw_firmware_type": "bios"},
    "rescue-ide": {"hw_disk_bus": "ide"},
    "rescue-scsi": {"hw_disk_bus": "scsi"},
    "rescue-cdrom-ide": {"hw_cdrom_bus": "ide"},
    "rescue-denying": {"hw_mem_encryption": "false"},
    "rescue-asking": ASKED_BY_IMAGE | Q35,
    "rescue-stable": {"hw_rescue_device": "disk", "hw_rescue_bus": "virtio"},
}
if novas.RELEASE >= 32:
    RESCUE_IMAGES["rescue-es"] = {
        "hw_mem_encryption": "true",
        "hw_mem_encryption_model": ES.value,
    }
if novas.RELEASE >= 34:
    RESCUE_IMAGES["rescue-tdx"] = {"hw_mem_encryption_model": TDX}

FLAVORS = {
    "plain": Flavor({}),
    "plain-2": Flavor({}, vcpus=2),
    "bare": Flavor(ASKED_BY_FLAVOR, SEV),
    "sev": Flavor(generations.asking(SEV), SEV),
    "es": Flavor(generations.asking(ES), ES, only_ours=novas.RELEASE < 32),
    "snp": Flavor(generations.asking(SNP), SNP, only_ours=novas.RELEASE < 34),
    "ours": Flavor(_key_of_ours(SEV), SEV, only_ours=True),
    "ours-held": Flavor(
        _key_of_ours(SEV) | {"trait:CUSTOM_AMD_SEV_HOST": "required"},
        SEV,
        only_ours=True,
    ),
}


def _names_model(keys: Mapping[str, str]) -> bool:
    return any(key.endswith(("_model", ":model")) for key in keys)


def asked(flavor: str, image: str) -> Model | str | None:
    """Return the model that a server of the two must run with."""
    size, disk = FLAVORS[flavor], IMAGES[image]
    by_image = disk.asks is not None and _names_model(disk.properties)
    if by_image and not _names_model(size.specs):
        return disk.asks
    return size.asks or disk.asks


def rescue_asks(image: str) -> bool:
    """Return whether a rescue image asks: then no plain server is rescued by it."""
    return RESCUE_IMAGES[image].get("hw_mem_encryption") == "true"


def fit(flavor: str, image: str) -> bool:
    """Return whether a server of the two can run at all."""
    by_flavor, disk = FLAVORS[flavor].asks, IMAGES[image]
    model = asked(flavor, image)
    if model is None:
        return True
    if model is TDX or disk.denies or model not in disk.fits:
        return False
    return not (by_flavor and disk.asks) or model is disk.asks
