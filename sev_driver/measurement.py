# SPDX-License-Identifier: Apache-2.0

"""Launch digests and ID blocks of SEV-SNP guests, by the library sev-snp-measure.

The library is the only code that computes a digest. It is optional: without it,
digests are unknown.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import os
import stat
from typing import Any, Final

from sev_driver.exceptions import DetectionError

#: sev_features of a guest's vCPUs: SNPActive only (AMD document 24593, table B-4).
#: QEMU starts SEV-SNP guests by KVM_SEV_INIT2 without further features.
SNP_ACTIVE: Final = 0x1

#: The library reads a whole file into memory, and a user chooses kernel and initrd.
MAX_BYTES: Final = 512 * 1024 * 1024
_MIB: Final = 1024 * 1024

_LIBRARY: Final = "sevsnpmeasure"
NOT_INSTALLED: Final = "sev-snp-measure is not installed"


@dataclasses.dataclass(frozen=True)
class LaunchFacts:
    """All that the launch digest of a SEV-SNP guest depends on.

    ``firmware``, ``kernel`` and ``initrd`` are paths of files. ``kernel`` is None if
    QEMU measures no kernel; ``initrd`` and ``cmdline`` then have no meaning.
    ``cpu_signature`` is EAX of CPUID leaf 1.
    """

    firmware: str
    vcpus: int
    cpu_signature: int
    features: int = SNP_ACTIVE
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str = ""


@dataclasses.dataclass(frozen=True)
class SignedIdBlock:
    """An ID block with its authentication information, and the digests of the keys.

    The parts are those of SNP_LAUNCH_FINISH (SEV-SNP firmware ABI, 8.18): 96 and 4096
    bytes. The key digests are ID_KEY_DIGEST and AUTHOR_KEY_DIGEST of a guest's report.
    """

    block: bytes
    auth: bytes
    id_key_digest: str
    author_key_digest: str | None


def is_available() -> bool:
    """Return whether digests can be computed here."""
    return importlib.util.find_spec(_LIBRARY) is not None


def launch_digest(facts: LaunchFacts) -> str:
    """Return the launch digest of a SEV-SNP guest as 96 hexadecimal digits.

    The result is cached until one of the files changes.

    :raises DetectionError: the digest is unknown: a file cannot be read, it is not a
        firmware for SEV-SNP, or the library is not installed.
    """
    paths = (facts.firmware, facts.kernel, facts.initrd)
    return _launch_digest(facts, tuple(_identity(path) for path in paths if path))


def file_digest(path: str) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    The result is cached until the file changes.

    :raises DetectionError: the file cannot be read.
    """
    return _file_digest(path, _identity(path))


def cmdline_digest(cmdline: str) -> str:
    """Return the SHA-256 of a kernel's command line, without the final zero byte."""
    return hashlib.sha256(cmdline.encode()).hexdigest()


#: A file's device, inode, size, and time of the last change in nanoseconds.
_Identity = tuple[int, int, int, int]


def _identity(path: str) -> _Identity:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "the name is not valid"
        raise DetectionError(f"{path} cannot be read: {why}") from error
    if not stat.S_ISREG(status.st_mode):
        raise DetectionError(f"{path} is not a regular file")
    if status.st_size > MAX_BYTES:
        raise DetectionError(
            f"{path} has {status.st_size // _MIB} MiB, and more than "
            f"{MAX_BYTES // _MIB} MiB are not read"
        )
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _file_digest(path: str, identity: _Identity) -> str:
    found = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_MIB):
                found.update(block)
    except OSError as error:
        raise DetectionError(f"{path} cannot be read: {error.strerror}") from error
    return found.hexdigest()


@functools.lru_cache(maxsize=64)
def _launch_digest(facts: LaunchFacts, identities: tuple[_Identity, ...]) -> str:
    guest, ovmf, sev_mode = (_module(name) for name in ("guest", "ovmf", "sev_mode"))
    try:
        if not ovmf.OVMF(facts.firmware).metadata_items():
            # The library would compute a digest; QEMU does not start the guest.
            raise DetectionError(f"{facts.firmware} has no metadata for SEV-SNP")
        digest: bytes = guest.calc_launch_digest(
            sev_mode.SevMode.SEV_SNP,
            facts.vcpus,
            facts.cpu_signature,
            facts.firmware,
            facts.kernel,
            facts.initrd,
            facts.cmdline,
            facts.features,
        )
    except OSError as error:
        raise DetectionError(
            f"{error.filename} cannot be read: {error.strerror}"
        ) from error
    except DetectionError:
        raise
    except Exception as error:
        # The library does not document what it raises for a malformed firmware.
        raise DetectionError(
            f"sev-snp-measure cannot measure {facts.firmware}: "
            f"{error or type(error).__name__}"
        ) from error
    return digest.hex()


def sign_id_block(
    digest: str,
    policy: int,
    id_key: str,
    author_key: str | None = None,
    guest_svn: int = 0,
) -> SignedIdBlock:
    """Return an ID block for a launch digest, signed with the owner's keys.

    :param digest: 96 hexadecimal digits.
    :param policy: the guest policy, which the guest must be launched with.
    :param id_key: the path of a file with a private key on P-384 in PEM format.
    :param author_key: the same of the key that certifies the ID key, if there is one.
    :param guest_svn: the security version number of the guest.
    :raises DetectionError: a key cannot be read, or the library is not installed.
    """
    library = _module("id_block")
    key = _private_key(library, id_key)
    public = library.marshal_ec_public_key(key)
    block = bytes(
        library.IdBlock(
            launch_digest=library.LaunchDigest.from_buffer_copy(bytes.fromhex(digest)),
            ids=library.DefaultIDs,
            version=library.DefaultVersion,
            guest_svn=guest_svn.to_bytes(4, "little"),
            policy=policy,
        )
    )
    parts: dict[str, Any] = {
        "id_key_algo": library.DefaultKeyAlgo,
        "block_sig": _signature(library, key, block),
        "id_key": library.ECPubKey.from_buffer_copy(public),
    }
    author_digest = None
    if author_key is not None:
        author = _private_key(library, author_key)
        author_public = library.marshal_ec_public_key(author)
        author_digest = hashlib.sha384(author_public).hexdigest()
        parts |= {
            "auth_key_algo": library.DefaultKeyAlgo,
            "id_key_sig": _signature(library, author, public),
            "author_key": library.ECPubKey.from_buffer_copy(author_public),
        }
    auth = bytes(library.IdAuth(**parts))
    return SignedIdBlock(block, auth, hashlib.sha384(public).hexdigest(), author_digest)


def _signature(library: Any, key: Any, data: bytes) -> Any:
    signed = library.sign_in_snp_format(key, data)
    return library.ECSignature.from_buffer_copy(signed)


def _private_key(library: Any, path: str) -> Any:
    try:
        key = library.load_private_key_from_pem_file(path)
        library.marshal_ec_public_key(key)
    except OSError as error:
        raise DetectionError(f"{path} cannot be read: {error.strerror}") from error
    except TypeError as error:
        # cryptography's word for a key with a password.
        raise DetectionError(
            f"{path} is encrypted with a password: use a key without one"
        ) from error
    except Exception as error:
        raise DetectionError(
            f"{path} has no private key on the curve P-384: create one with openssl "
            f"ecparam -name secp384r1 -genkey -noout"
        ) from error
    return key


def _module(name: str) -> Any:
    """Import a module of the library, which takes a sixth of a second.

    :raises DetectionError: the library is not installed, or lacks a module.
    """
    try:
        return importlib.import_module(f"{_LIBRARY}.{name}")
    except ImportError as error:
        missing = (error.name or _LIBRARY).partition(".")[0]
        if missing == _LIBRARY:
            raise DetectionError(NOT_INSTALLED) from error
        raise DetectionError(
            f"{missing}, which sev-snp-measure needs, is not installed"
        ) from error
