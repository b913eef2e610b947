# SPDX-License-Identifier: Apache-2.0

"""Keys of a guest's owner, and ID blocks signed with them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

Key = ec.EllipticCurvePrivateKey

#: Always the same, so that a test that fails can be repeated.
ID_KEY, AUTHOR_KEY = (ec.derive_private_key(n, ec.SECP384R1()) for n in (7, 77))
DIGEST = bytes(range(48)).hex()


def write(path: Path, key: Key) -> str:
    """Write a key as openssl does, and return the path."""
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(text)
    return str(path)


def sign(
    digest: str = DIGEST,
    policy: int = 0x30000,
    *,
    key: Key = ID_KEY,
    author: Key | None = None,
    version: int = 1,
    svn: int = 0,
) -> tuple[bytes, bytes]:
    """Return an ID block and its authentication information."""
    numbers = ((version, 4), (svn, 4), (policy, 8))
    block = bytes.fromhex(digest) + bytes(32)
    block += b"".join(number.to_bytes(size, "little") for number, size in numbers)
    auth = (1).to_bytes(4, "little") + (author is not None).to_bytes(4, "little")
    auth = auth.ljust(0x40, b"\0") + _signature(key, block) + _public(key)
    auth = auth.ljust(0x680, b"\0")
    if author is not None:
        auth += _signature(author, _public(key)) + _public(author)
    return block, auth.ljust(4096, b"\0")


def as_metadata(block: bytes, auth: bytes) -> dict[str, str]:
    """Return the keys of a server's metadata, as sev-owner writes them."""
    text = base64.b64encode(zlib.compress(auth, 9)).decode()
    pieces = [text[at : at + 255] for at in range(0, len(text), 255)]
    keys = {f"sev:id_auth_{number}": piece for number, piece in enumerate(pieces)}
    return {"sev:id_block": base64.b64encode(block).decode(), **keys}


def _public(key: Key) -> bytes:
    point = key.public_key().public_numbers()
    numbers = (point.x.to_bytes(72, "little"), point.y.to_bytes(72, "little"))
    return ((2).to_bytes(4, "little") + b"".join(numbers)).ljust(1028, b"\0")


def _signature(key: Key, data: bytes) -> bytes:
    der = key.sign(data, ec.ECDSA(hashes.SHA384()))
    numbers = (n.to_bytes(72, "little") for n in utils.decode_dss_signature(der))
    return b"".join(numbers).ljust(512, b"\0")


def digest(key: Key) -> str:
    """Return ID_KEY_DIGEST or AUTHOR_KEY_DIGEST of a report."""
    return hashlib.sha384(_public(key)).hexdigest()


def in_domain(block: bytes, auth: bytes, host_data: str) -> dict[str, str]:
    """Return the elements of a domain's launchSecurity with these launch inputs."""
    parts = {"idBlock": block, "idAuth": auth, "hostData": bytes.fromhex(host_data)}
    return {tag: base64.b64encode(data).decode() for tag, data in parts.items()}


def unpacked(text: str) -> str:
    """Return ID authentication information as a domain has it, of its zlib form."""
    return base64.b64encode(zlib.decompress(base64.b64decode(text))).decode()
