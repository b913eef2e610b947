# SPDX-License-Identifier: Apache-2.0

"""ID blocks: the launch digest that a guest's owner signed, and the signatures.

The secure processor launches no other guest (SEV-SNP firmware ABI, SNP_LAUNCH_FINISH,
tables of ID_BLOCK and ID_AUTH).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

BLOCK_BYTES: Final = 96
AUTH_BYTES: Final = 4096

#: LD, FAMILY_ID, IMAGE_ID, VERSION, GUEST_SVN, POLICY.
_BLOCK: Final = struct.Struct("<48s16s16sIIQ")
#: ID_KEY_ALGO, AUTH_KEY_ALGO, ID_BLOCK_SIG, ID_KEY, ID_KEY_SIG, AUTHOR_KEY; between
#: them, bytes that must be 0.
_AUTH: Final = struct.Struct("<II56s512s1028s60s512s1028s892s")
#: The curve, and Qx, Qy of a key; R and S of a signature. The numbers have 576 bits.
_KEY: Final = struct.Struct("<I72s72s880s")
_SIGNATURE: Final = struct.Struct("<72s72s368s")

#: The only values that the firmware knows: ECDSA P-384 with SHA-384, and P-384.
_VERSION: Final = 1
_ALGORITHM: Final = 1
_P384: Final = 2


@dataclasses.dataclass(frozen=True)
class IdBlock:
    """An ID block: 96 bytes.

    ``digest`` is the launch digest as 96 hexadecimal digits.
    """

    digest: str
    version: int
    guest_svn: int
    policy: int
    data: bytes

    @classmethod
    def parse(cls, data: bytes) -> IdBlock:
        """Parse an ID block.

        :param data: :data:`BLOCK_BYTES`.
        """
        digest, _, _, version, guest_svn, policy = _BLOCK.unpack(data)
        return cls(digest.hex(), version, guest_svn, policy, data)


class _Auth(NamedTuple):
    """The fields of ID authentication information."""

    id_key_algorithm: int
    author_key_algorithm: int
    reserved1: bytes
    block_signature: bytes
    id_key: bytes
    reserved2: bytes
    id_key_signature: bytes
    author_key: bytes
    reserved3: bytes

    @property
    def has_reserved_bits(self) -> bool:
        """True if bytes that must be 0 are not."""
        parts = (
            self.reserved1,
            self.reserved2,
            self.reserved3,
            _KEY.unpack(self.id_key)[3],
            _KEY.unpack(self.author_key)[3],
            _SIGNATURE.unpack(self.block_signature)[2],
            _SIGNATURE.unpack(self.id_key_signature)[2],
        )
        return any(map(any, parts))


class Fault(NamedTuple):
    """What is wrong: a predicate of the ID block or of its ``auth``, and the rule."""

    is_block: bool
    has: str
    rule: str


def has_author_key(auth: bytes) -> bool:
    """Return whether ID authentication information has an author key."""
    return any(_Auth(*_AUTH.unpack(auth)).author_key)


def check(block: bytes, auth: bytes) -> Iterator[Fault]:
    """Yield what the secure processor would refuse of an ID block by itself.

    :param block: :data:`BLOCK_BYTES`.
    :param auth: :data:`AUTH_BYTES`, the ID authentication information.
    """
    version = IdBlock.parse(block).version
    if version != _VERSION:
        yield Fault(True, f"has version {version}", "AMD SEV-SNP takes version 1")
    parts = _Auth(*_AUTH.unpack(auth))
    if parts.has_reserved_bits:
        yield Fault(False, "has reserved bits", "AMD SEV-SNP takes none")
    yield from _check_signature(
        "ID", parts.id_key_algorithm, parts.id_key, parts.block_signature, block
    )
    if any(parts.author_key):
        yield from _check_signature(
            "author",
            parts.author_key_algorithm,
            parts.author_key,
            parts.id_key_signature,
            parts.id_key,
        )
    elif any(parts.id_key_signature):
        yield Fault(False, "has a signature of the ID key", "it has no author key")


def _check_signature(
    name: str, algorithm: int, key: bytes, signature: bytes, data: bytes
) -> Iterator[Fault]:
    if algorithm != _ALGORITHM:
        rule = f"AMD SEV-SNP takes {_ALGORITHM}, ECDSA P-384 with SHA-384"
        yield Fault(False, f"has algorithm {algorithm} of the {name} key", rule)
    signed = "ID block" if name == "ID" else "ID key"
    try:
        is_right = _verify(key, signature, data)
    except ValueError:
        yield Fault(False, f"has a wrong {name} key", "it is no point on P-384")
        return
    if not is_right:
        yield Fault(
            False, f"has a wrong signature of the {signed}", f"the {name} key denies it"
        )


def _verify(key: bytes, signature: bytes, data: bytes) -> bool:
    """Return whether a signature is right.

    :raises ValueError: the key is not a point on P-384.
    """
    # Nova needs the library; programs that read no ID block run without it.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    curve, x, y, _ = _KEY.unpack(key)
    if curve != _P384:
        raise ValueError(f"curve {curve}")
    numbers = ec.EllipticCurvePublicNumbers(_number(x), _number(y), ec.SECP384R1())
    public = numbers.public_key()
    r, s, _ = _SIGNATURE.unpack(signature)
    try:
        public.verify(
            utils.encode_dss_signature(_number(r), _number(s)),
            data,
            ec.ECDSA(hashes.SHA384()),
        )
    except InvalidSignature:
        return False
    return True


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
