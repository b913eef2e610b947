# SPDX-License-Identifier: Apache-2.0

"""SNP_LAUNCH_FINISH: what the secure processor measures and checks of a guest.

The digest is computed by the library sev-snp-measure from QEMU's own command line. The
checks come in the order of the SEV-SNP firmware ABI: digest, policy, signatures.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import struct
from typing import Any, NamedTuple

from . import p384
from .command_line import CommandLine

#: QEMU's sev_fw_errlist.
POLICY_FAILURE = 7, "Policy is not allowed"
BAD_SIGNATURE = 10, "Bad signature"
BAD_MEASUREMENT = 11, "Bad measurement"
INVALID_PARAMETER = 22, "Invalid parameter"
_EIO, _EINVAL = 5, 22

#: sev_features of QEMU's vCPUs: SNPActive.
_FEATURES = 1
_PASSTHROUGH = ("host", "max")
#: LD, FAMILY_ID, IMAGE_ID, VERSION, GUEST_SVN, POLICY of an ID block.
_BLOCK = struct.Struct("<48s16s16sIIQ")
_AUTH_BYTES = 4096
#: Where ID authentication information has its parts, and their sizes.
_BLOCK_SIGNATURE, _ID_KEY, _ID_KEY_SIGNATURE, _AUTHOR_KEY = 0x40, 0x240, 0x680, 0x880
_KEY_BYTES = 1028
_P384 = b"\2\0\0\0"  # a key begins with its curve
_NUMBER_BYTES = 72


class Refused(Exception):
    """The launch is refused; the message is QEMU's."""

    @classmethod
    def by_firmware(cls, error: tuple[int, str]) -> Refused:
        return cls(_failed(_EIO, *error))


class _IdBlock(NamedTuple):
    digest: bytes
    family_id: bytes
    image_id: bytes
    version: int
    guest_svn: int
    policy: int


def finish(command: CommandLine) -> dict[str, Any]:
    """Launch a guest; return what its reports will say, as JSON has it.

    :raises Refused: QEMU would end.
    """
    security = command.security or {}
    digest = _digest(command)
    launched = {
        "name": command.name,
        "measurement": digest.hex(),
        "policy": command.policy,
        "host_data": _binary(security, "host-data").ljust(32, b"\0").hex(),
        "report_id": os.urandom(32).hex(),
        "firmware": command.firmware,
    }
    block = _binary(security, "id-block")
    if block:
        has_author = str(security.get("author-key-enabled")).lower() in ("true", "on")
        auth = _binary(security, "id-auth")
        policy = command.policy
        launched.update(check_id_block(block, auth, digest, policy, has_author))
    return launched


def check_id_block(
    data: bytes, auth: bytes, digest: bytes, policy: int, has_author: bool
) -> dict[str, Any]:
    """Return what reports say of an ID block.

    :param digest: what was measured.
    :param policy: the guest's.
    :raises Refused: it is for another launch, or its signatures are not right.
    """
    if len(auth) != _AUTH_BYTES:
        # The kernel finds nothing to copy.
        raise Refused(_failed(_EINVAL, 0, ""))
    block = _IdBlock(*_BLOCK.unpack(data))
    if block.digest != digest:
        raise Refused.by_firmware(BAD_MEASUREMENT)
    if block.policy != policy:
        raise Refused.by_firmware(POLICY_FAILURE)
    id_algorithm, author_algorithm = struct.unpack_from("<II", auth)
    if (
        block.version != 1
        or id_algorithm != 1
        or (has_author and author_algorithm != 1)
    ):
        raise Refused.by_firmware(INVALID_PARAMETER)
    id_key = _key(auth, _ID_KEY)
    _check_signature(id_key, auth, _BLOCK_SIGNATURE, data)
    found = {
        "family_id": block.family_id.hex(),
        "image_id": block.image_id.hex(),
        "guest_svn": block.guest_svn,
        "id_key_digest": hashlib.sha384(id_key).hexdigest(),
    }
    if has_author:
        author_key = _key(auth, _AUTHOR_KEY)
        _check_signature(author_key, auth, _ID_KEY_SIGNATURE, id_key)
        found["author_key_digest"] = hashlib.sha384(author_key).hexdigest()
    return found


def _check_signature(key: bytes, auth: bytes, at: int, data: bytes) -> None:
    point = _number(key, 4), _number(key, 4 + _NUMBER_BYTES)
    signature = _number(auth, at), _number(auth, at + _NUMBER_BYTES)
    if key[:4] != _P384 or not p384.is_signature(data, point, signature):
        raise Refused.by_firmware(BAD_SIGNATURE)


def _key(auth: bytes, at: int) -> bytes:
    return auth[at : at + _KEY_BYTES]


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _NUMBER_BYTES], "little")


def _binary(security: dict[str, Any], name: str) -> bytes:
    return base64.b64decode(str(security.get(name) or ""))


def _failed(errno: int, error: int, text: str) -> str:
    return f"SNP_LAUNCH_FINISH ret=-{errno} fw_error={error} '{text}'"


def _digest(command: CommandLine) -> bytes:
    from sevsnpmeasure import guest, ovmf, sev_mode

    if not ovmf.OVMF(command.firmware).metadata_items():
        raise Refused("sev_snp_launch_finish: Failed to locate SEV metadata header")
    measured = command.kernel_hashes
    digest: bytes = guest.calc_launch_digest(
        sev_mode.SevMode.SEV_SNP,
        command.vcpus,
        _signature(command.cpu),
        command.firmware,
        command.kernel if measured else None,
        command.initrd if measured else None,
        command.kernel_arguments if measured else None,
        _FEATURES,
    )
    return digest


def _signature(cpu: str) -> int:
    """Return what the guest sees in EAX of CPUID leaf 1."""
    from sevsnpmeasure import vcpu_types

    if cpu in _PASSTHROUGH:
        return int(vcpu_types.cpu_sig(*_this_processor()))
    # QEMU's own default, which the library lacks as it lacks some versions of models.
    known = {"qemu64": vcpu_types.cpu_sig(15, 107, 1), **vcpu_types.CPU_SIGS}
    found: int | None = known.get(cpu) or known.get(re.sub(r"-v\d+$", "", cpu))
    if found is None:
        raise Refused(f"simulated secure processor: unknown CPU model {cpu}")
    return found


def _this_processor() -> list[int]:
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        text = file.read()
    numbers = []
    for name in ("cpu family", "model", "stepping"):
        found = re.search(rf"^{name}\s*: (\d+)$", text, re.MULTILINE)
        numbers.append(int(found[1]) if found else 0)
    return numbers


def open_record(folder: str, uuid: str) -> int:
    """Return a file descriptor that exec keeps, of a guest's new record.

    QEMU itself holds the record's lock: whoever finds it free knows that the guest has
    ended.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, uuid)
    if os.path.exists(path):
        os.unlink(path)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.set_inheritable(fd, True)
    return fd


def write_record(folder: str, uuid: str, launched: dict[str, Any]) -> None:
    with open(os.path.join(folder, uuid), "r+", encoding="ascii") as file:
        json.dump(launched, file)


def read_record(folder: str, uuid: str) -> dict[str, Any] | None:
    """Return what a guest was launched as; None if it does not run."""
    try:
        with open(os.path.join(folder, uuid), encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read()
                return json.loads(text) if text else None
    except FileNotFoundError:
        pass
    return None
