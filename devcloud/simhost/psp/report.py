# SPDX-License-Identifier: Apache-2.0

"""Attestation reports: version 2 of ATTESTATION_REPORT in the SEV-SNP firmware ABI.

With the certificates behind it, a report is what SNP_GET_EXT_REPORT returns.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from devcloud.simhost.psp import keys
from devcloud.simhost.psp.keys import Keys

REPORT_BYTES: Final = 1184
NONCE_BYTES: Final = 64

_VERSION, _ECDSA_P384_SHA384 = 2, 1
_SMT_ENABLED = 1
_AUTHOR_KEY_ENABLED = 1
#: The signed part: up to SIGNATURE_ALGO, then up to REPORT_ID_MA, then the rest.
_SIGNED = struct.Struct(
    "<IIQ16s16sII" + "QQII64s48s32s48s48s32s32s" + "Q24x64sQ4B4BQ168x"
)
_NUMBER = 72
#: API version and build of the firmware, as the simulated /dev/sev has it.
_MAJOR, _MINOR, _BUILD = 1, 55, 21

_GUIDS: Final = {
    "vcek": uuid.UUID("63da758d-e664-4564-adc5-f4b93be8accd"),
    "ask": uuid.UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782"),
    "ark": uuid.UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae"),
}
_ENTRY = struct.Struct("<16sII")


def make(
    launched: Mapping[str, Any],
    nonce: bytes,
    key: ec.EllipticCurvePrivateKey,
    chip_id: bytes,
) -> bytes:
    """Return a report of a guest, for its kernel: VMPL 0.

    :param launched: what ``sevsim/launch.py`` kept of its launch.
    :param nonce: REPORT_DATA, 64 bytes.
    :param key: the VCEK of the chip.
    """
    has_author = "author_key_digest" in launched
    tcb = keys.tcb()
    signed = _SIGNED.pack(
        *(_VERSION, launched.get("guest_svn", 0), launched["policy"]),
        *(_bytes(launched, "family_id"), _bytes(launched, "image_id")),
        *(0, _ECDSA_P384_SHA384),
        *(tcb, _SMT_ENABLED, _AUTHOR_KEY_ENABLED if has_author else 0, 0),
        *(nonce, _bytes(launched, "measurement"), _bytes(launched, "host_data")),
        *(_bytes(launched, "id_key_digest"), _bytes(launched, "author_key_digest")),
        *(_bytes(launched, "report_id"), b"\xff" * 32),
        *(tcb, chip_id, tcb),
        *(_BUILD, _MINOR, _MAJOR, 0) * 2,
        tcb,
    )
    signature = key.sign(signed, ec.ECDSA(hashes.SHA384()))
    numbers = utils.decode_dss_signature(signature)
    data = b"".join(number.to_bytes(_NUMBER, "little") for number in numbers)
    return (signed + data).ljust(REPORT_BYTES, b"\0")


def _bytes(launched: Mapping[str, Any], name: str) -> bytes:
    return bytes.fromhex(launched.get(name, ""))


def certificate_table(signer: Keys) -> bytes:
    """Return the certificates as the host gives them to a guest (GHCB, 4.1.8.1)."""
    found = {guid: _der(getattr(signer, name)) for name, guid in _GUIDS.items()}
    at = _ENTRY.size * (len(found) + 1)
    table = b""
    for guid, data in found.items():
        table += _ENTRY.pack(guid.bytes, at, len(data))
        at += len(data)
    return table + bytes(_ENTRY.size) + b"".join(found.values())


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
