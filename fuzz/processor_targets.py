# SPDX-License-Identifier: Apache-2.0

"""The simulated secure processor beside the driver: they must read the same.

They are written apart. What the driver lets through and the processor refuses fails at
each start; what the driver refuses in vain is a guest that could run.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import omne_attest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devcloud.simhost.psp import report
from devcloud.simhost.sevsim import guest_firmware, launch
from fuzz.host_targets import end_of_firmware, ends_of_firmware
from fuzz.source import Source
from fuzz.target import Target, must
from sev_driver import measurement
from sev_driver.exceptions import MalformedFirmware
from sev_driver.guest import id_block
from sev_driver.host.guest_firmware import GuestFirmware

_FIELDS = (
    ("family_id", 16), ("image_id", 16), ("measurement", 48), ("host_data", 32),
    ("id_key_digest", 48), ("author_key_digest", 48), ("report_id", 32),
)  # fmt: skip


def _firmware(data: bytes) -> None:
    data = end_of_firmware(data)
    has_place = not guest_firmware.hashes_obstacle(data)
    try:
        read = GuestFirmware.parse(data)
    except MalformedFirmware:
        return  # The driver leaves it to QEMU.
    must((read.hash_table is not None) == has_place, "QEMU and the driver disagree")


def _id_block(data: bytes) -> None:
    """A block that is right but for some bytes, which the input names."""
    source = Source(data)
    block, auth = map(bytearray, _signed(source.flag()))
    while not source.empty:
        part = source.choose((block, auth))
        part[(source.byte() << 8 | source.byte()) % len(part)] ^= source.byte()
    faults = list(id_block.check(bytes(block), bytes(auth)))
    read = id_block.IdBlock.parse(bytes(block))
    author = id_block.has_author_key(bytes(auth))
    try:
        digest = bytes.fromhex(read.digest)
        launch.check_id_block(bytes(block), bytes(auth), digest, read.policy, author)
    except launch.Refused:
        must(bool(faults), "the driver takes what the processor refuses")
        return
    # The driver is stricter: bytes that must be 0, and a signature without its key.
    strict = [fault for fault in faults if "reserved bits" not in fault.has]
    strict = [f for f in strict if f.has != "has a signature of the ID key"]
    must(not strict, f"the processor takes what the driver refuses: {strict}")


def _report(data: bytes) -> None:
    """What is launched is what another's library reads in the report."""
    source = Source(data)
    launched: dict[str, object] = {
        name: source.take(size).ljust(size, b"\0").hex() for name, size in _FIELDS
    }
    launched["policy"] = int.from_bytes(source.take(8), "little")
    launched["guest_svn"] = int.from_bytes(source.take(4), "little")
    nonce = source.rest()[: report.NONCE_BYTES].ljust(report.NONCE_BYTES, b"\0")
    made = report.make(launched, nonce, _key(7), bytes(64))
    read = omne_attest.Report.parse(made)
    must(read.report_data == nonce, "another nonce")
    for name, value in launched.items():
        found = getattr(read, name)
        must((found if isinstance(found, int) else found.hex()) == value, name)


@functools.cache
def _key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(number, ec.SECP384R1())


@functools.cache
def _signed(author: bool) -> tuple[bytes, bytes]:
    """Return an ID block and its signatures, made by sev-snp-measure."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number in (7, 77):
            path = Path(folder, f"{number}.pem")
            path.write_bytes(
                _key(number).private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
            files.append(str(path))
        signed = measurement.sign_id_block(
            "ab" * 48, 0x30000, files[0], files[1] if author else None
        )
    return signed.block, signed.auth


TARGETS = (
    Target("firmware-twice", _firmware, ends_of_firmware),
    Target(
        "id-block-twice",
        _id_block,
        lambda: [b"\0", b"\1", b"\1\1\2\x80\1", b"\0\0\0\5\xff", b"\1\1\0\0\3"],
        slow=200,
    ),
    Target("report", _report, lambda: [b"", bytes(range(250)) + bytes(64)], slow=8),
)
