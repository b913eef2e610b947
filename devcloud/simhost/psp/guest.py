# SPDX-License-Identifier: Apache-2.0

"""What a guest would get from its /dev/sev-guest, taken from outside of it."""

from __future__ import annotations

import dataclasses

from cryptography.hazmat.primitives import serialization

from devcloud.simhost.layout import Layout
from devcloud.simhost.psp import keys, report
from devcloud.simhost.sevsim import launch


@dataclasses.dataclass(frozen=True)
class Evidence:
    """An extended report, and what its owner would fetch from AMD."""

    report: bytes
    vcek: bytes
    cert_chain: bytes


def evidence(host: Layout, uuid: str, nonce: bytes) -> Evidence | None:
    """Return the report of a guest with SEV-SNP; None if it does not run on the host.

    :param nonce: 64 bytes of the guest's choice.
    """
    launched = launch.read_record(str(host.launches), uuid)
    if launched is None:
        return None
    signer = keys.load_or_make(host.secure_processor)
    return Evidence(
        report.make(launched, nonce, signer.vcek_key, signer.chip_id)
        + report.certificate_table(signer),
        signer.vcek.public_bytes(serialization.Encoding.PEM),
        signer.chain,
    )
