# SPDX-License-Identifier: Apache-2.0

"""Firmware descriptors for the generations that Debian's own do not name.

Also firmware that halts at once. The format of the descriptors is QEMU's
docs/interop/firmware.json. The files are Debian's OVMF, unless the settings name
another for SEV-SNP.
"""

from __future__ import annotations

import json
from typing import Any

from devcloud.simhost.settings import HostSettings

_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
_VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
_STATELESS = "/usr/share/ovmf/OVMF.fd"
#: What halting firmware replaces, below /usr/share.
IMAGES = ("OVMF/OVMF_CODE_4M.fd", "ovmf/OVMF.fd")
#: Where a processor begins, from the end of its firmware (AMD64 Architecture
#: Programmer's Manual, volume 2, 14.1.5).
_RESET_VECTOR = 16
#: A terminal's escape sequence to the first serial port (mov dx, 0x3f8; mov al, ...;
#: out dx, al), as firmware begins its screen; then hlt, and a jump back to it.
_HALT = bytes.fromhex("ba f8 03  b0 1b ee  b0 5b ee  f4 eb fd")


def descriptors(settings: HostSettings) -> dict[str, str]:
    """Files for /etc/qemu/firmware, by name, for the generations that are on.

    libvirt tries descriptors by their number. From 70 on, they do not come before
    those of the distribution, which ordinary guests and plain SEV take.
    """
    if not settings.es_snp_firmware:
        return {}
    parameters, found = settings.kernel_parameters, {}
    if parameters["sev_es"]:
        found["70-sev-es.json"] = _descriptor("SEV-ES", _FLASH, "amd-sev-es")
    if parameters["sev_snp"]:
        memory = _MEMORY
        if settings.snp_firmware:
            memory = {**_MEMORY, "filename": settings.snp_firmware}
        found["70-sev-snp.json"] = _descriptor("SEV-SNP", memory, "amd-sev-snp")
    return {name: json.dumps(value, indent=2) + "\n" for name, value in found.items()}


def halting(image: bytes) -> bytes:
    """Return the same firmware, but it halts the processor at once.

    What it says of itself, such as where the hashes of a kernel go, stays. Before the
    halt it writes two bytes to the serial port, for tests of consoles. Interrupts are
    off after a reset, so that nothing wakes the processor.
    """
    return image[:-_RESET_VECTOR] + _HALT.ljust(_RESET_VECTOR, b"\0")


_FLASH = {
    "device": "flash",
    "executable": {"filename": _CODE, "format": "raw"},
    "nvram-template": {"filename": _VARIABLES, "format": "raw"},
}
#: SNP has no flash, and so no variables that survive.
_MEMORY = {"device": "memory", "filename": _STATELESS}


def _descriptor(name: str, mapping: dict[str, Any], feature: str) -> dict[str, Any]:
    return {
        "description": f"OVMF, said to know {name}",
        "interface-types": ["uefi"],
        "mapping": mapping,
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": ["amd-sev", feature, "verbose-dynamic"],
        "tags": [],
    }
