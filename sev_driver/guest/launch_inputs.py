# SPDX-License-Identifier: Apache-2.0

"""Launch inputs: what the owner of a SEV-SNP guest gives the secure processor.

The owner writes them into the server's metadata, as properties of the image, or, for
the policy, as an extra spec of the flavor. The guest's attestation report has them.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sev_driver.exceptions import Requirement, Violation, printable
from sev_driver.guest import id_block
from sev_driver.guest.input_keys import (
    HOST_DATA,
    ID_AUTH,
    ID_BLOCK,
    PIECE,
    POLICY,
    PREFIX,
    InputRefused,
    Owner,
    Value,
    of_flavor,
    of_image,
    of_server,
    violation,
)
from sev_driver.guest.policy import DEFAULT_SNP_POLICY, SnpPolicy
from sev_driver.host.processor import Topology
from sev_driver.model import SEV_SNP, AnyModel

#: The value of host_data that binds the server's user data.
USER_DATA: Final = "user_data"

#: HOST_DATA of SNP_LAUNCH_FINISH (SEV-SNP firmware ABI, 8.18).
HOST_DATA_BYTES: Final = 32
_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII | re.IGNORECASE)

_TAKES: Final = f"{SEV_SNP.title} takes {HOST_DATA_BYTES} bytes"
_HOW: Final = "write them as 64 hexadecimal digits or in base64"


@dataclasses.dataclass(frozen=True)
class SignedBlock:
    """An ID block and its ID authentication information, in the sizes of the firmware.

    The sources name the keys that have them.
    """

    block: bytes
    auth: bytes
    block_source: str
    auth_source: str

    @property
    def has_author_key(self) -> bool:
        """True if a key of the author certifies the ID key."""
        return id_block.has_author_key(self.auth)

    @property
    def digest(self) -> str:
        """The launch digest as 96 hexadecimal digits."""
        return id_block.IdBlock.parse(self.block).digest

    def digest_violations(self, digest: str) -> tuple[Violation, ...]:
        """Return a violation if a host would launch another digest.

        Another host can have another guest firmware or CPU model.
        """
        if digest == self.digest:
            return ()
        return (self.other_digest(f"this host would launch {digest[:24]}…"),)

    def other_digest(self, found: str) -> Violation:
        """Return the violation of a host whose launch digest is another.

        :param found: what is known of that digest.
        """
        return Violation(
            Requirement.ID_BLOCK_DIGEST,
            f"{self.block_source} is for launch digest {self.digest[:24]}…",
            found,
            "use a host with the guest firmware and the CPU model that it was "
            "signed for, or sign another",
            SEV_SNP,
        )

    def violations(self) -> Iterator[Violation]:
        """Yield what the secure processor would refuse on any host."""
        for fault in id_block.check(self.block, self.auth):
            source = self.block_source if fault.is_block else self.auth_source
            yield _id_violation(f"{source} {fault.has}", fault.rule)

    def policy_violations(self, policy: SnpPolicy, of: str) -> Iterator[Violation]:
        """Yield a violation if the ID block is for another policy than the guest's."""
        own = id_block.IdBlock.parse(self.block).policy
        if own != policy:
            yield _id_violation(
                f"{self.block_source} is for policy {own:#010x}",
                f"{of} has {policy.format()}",
                f"set {PREFIX}{POLICY}={own:#x}, or sign another",
            )


@dataclasses.dataclass(frozen=True)
class LaunchInputs:
    """The launch inputs of a server; each is None if it is not given.

    ``policy_source`` names the key that has the policy. ``signed`` is the ID block with
    its signatures. ``keys`` are all keys that are
    meant as launch inputs, also misspelt ones; ``violations`` is what is wrong. If
    there are violations, the values are incomplete.
    """

    policy: SnpPolicy | None = None
    policy_source: str = ""
    host_data: bytes | None = None
    signed: SignedBlock | None = None
    keys: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()


#: The launch inputs of a server that has none.
NO_INPUTS: Final = LaunchInputs()


def parse(
    server: Mapping[str, str],
    image: Owner,
    flavor: Owner,
    user_data: str | None = None,
    *,
    allow_debug: bool = False,
) -> LaunchInputs:
    """Parse the launch inputs of a server, key by key: server, then image, then flavor.

    :param server: the server's metadata.
    :param user_data: the server's user data, as Nova stores them: in base64.
    :param allow_debug: true if the operator allows policies that allow debugging.
    """
    found, keys, violations = _in_effect(
        of_flavor(flavor), of_image(image), of_server(server)
    )
    policy = host_data = signed = None
    try:
        if POLICY in found:
            policy = _policy(found[POLICY], allow_debug=allow_debug)
    except InputRefused as refused:
        violations.append(refused.violation)
    try:
        if HOST_DATA in found:
            host_data = _host_data(found[HOST_DATA], user_data)
    except InputRefused as refused:
        violations.append(refused.violation)
    try:
        signed = _signed(found)
        violations += () if signed is None else signed.violations()
    except InputRefused as refused:
        violations.append(refused.violation)
    source = str(found[POLICY]) if POLICY in found else ""
    return LaunchInputs(
        policy, source, host_data, signed, tuple(keys), tuple(violations)
    )


def _in_effect(
    *owners: Iterable[Value],
) -> tuple[dict[str, Value], list[str], list[Violation]]:
    """Return the values by name, all keys, and what is wrong with keys.

    :param owners: their values; a later owner overrides an earlier one.
    """
    found: dict[str, Value] = {}
    keys: list[str] = []
    violations: list[Violation] = []
    for values in map(list, owners):
        if any(PIECE.fullmatch(value.name) for value in values):
            # Pieces of two owners do not fit together.
            found = {k: v for k, v in found.items() if not PIECE.fullmatch(k)}
        for value in values:
            keys.append(str(value))
            if value.wrong is not None:
                violations.append(value.wrong)
            else:
                found[value.name] = value
    return found, keys, violations


def check(
    inputs: LaunchInputs,
    model: AnyModel | None,
    policy: SnpPolicy = DEFAULT_SNP_POLICY,
    *,
    allowed: bool,
) -> tuple[Violation, ...]:
    """Return what is wrong with the launch inputs of a guest on any host.

    :param model: the model that encrypts the guest, None for a plain guest.
    :param policy: the policy of a guest whose owner gives none: that of nova.conf.
    :param allowed: true if the operator takes launch inputs.
    """
    if not inputs.keys:
        return ()
    if model is not SEV_SNP:
        return (_not_snp(inputs, model),)
    if not allowed:
        return (_not_allowed(inputs),)
    found = inputs.violations
    is_wrong = inputs.policy is None and inputs.policy_source
    if inputs.signed is not None and not is_wrong:
        own = policy if inputs.policy is None else inputs.policy
        of = inputs.policy_source or "[sev] snp_policy of this host"
        found += tuple(inputs.signed.policy_violations(own, of))
    return found


def _not_snp(inputs: LaunchInputs, model: AnyModel | None) -> Violation:
    encrypted = "not encrypted" if model is None else f"encrypted with {model.title}"
    return Violation(
        Requirement.NOT_SNP,
        f"{inputs.keys[0]} is a launch input of {SEV_SNP.title}",
        f"the guest is {encrypted}",
        f"remove it, or ask for {SEV_SNP.title}",
        SEV_SNP,
    )


def _not_allowed(inputs: LaunchInputs) -> Violation:
    return violation(
        f"{inputs.keys[0]} is a launch input",
        "[sev] owner_inputs is False on this host",
        "remove it",
    )


#: What QEMU says when the secure processor refuses a launch (QEMU, target/i386/sev.c).
_REFUSED = re.compile(r"SNP_LAUNCH_(?:START|FINISH) ret=-?\d+ fw_error=(\d+)", re.ASCII)
_POLICY_FAILURE, _BAD_SIGNATURE, _BAD_MEASUREMENT = "7", "10", "11"
_INVALID_PARAMETER: Final = "22"


def explain_error(inputs: LaunchInputs, error: str) -> tuple[Violation, ...]:
    """Return the violation that explains why the secure processor refused a launch.

    It checks what the driver checks before, if that was possible.

    :param error: the text of libvirt's error, which repeats QEMU's.
    """
    match = _REFUSED.search(error)
    if match is None:
        return ()
    code, signed = match[1], inputs.signed
    if code == _POLICY_FAILURE:
        policy = inputs.policy_source or "[sev] snp_policy"
        return (
            Violation(
                Requirement.POLICY_ON_HOST,
                f"{policy} is the guest's policy",
                "the SEV firmware of this host does not allow it",
                "use another host, or another policy",
                SEV_SNP,
            ),
        )
    if signed is None:
        return ()
    if code == _BAD_MEASUREMENT:
        return (signed.other_digest("the secure processor measured another"),)
    if code == _BAD_SIGNATURE:
        found = "the secure processor denies a signature"
        return (_id_violation(f"{signed.auth_source} is given", found),)
    if code == _INVALID_PARAMETER and not signed.has_author_key:
        return (
            _id_violation(
                f"{signed.auth_source} has no author key",
                "the SEV firmware of this host refuses it",
                "sign another with an author key, or update the SEV firmware",
            ),
        )
    return ()


def depends_on_host(policy: SnpPolicy | None) -> bool:
    """Return whether there are hosts that cannot keep a policy."""
    if policy is None:
        return False
    return not policy & SnpPolicy.SMT or bool(policy & SnpPolicy.SINGLE_SOCKET)


def check_host(inputs: LaunchInputs, host: Topology) -> tuple[Violation, ...]:
    """Return the violations of an owner's policy that this host cannot keep."""
    policy = inputs.policy
    if policy is None:
        return ()
    found = []
    if host.has_smt and not policy & SnpPolicy.SMT:
        found.append(("lacks SMT", "this host has simultaneous multithreading on"))
    if (host.sockets or 0) > 1 and policy & SnpPolicy.SINGLE_SOCKET:
        found.append(("has SINGLE_SOCKET", f"this host has {host.sockets} processors"))
    return tuple(
        Violation(
            Requirement.POLICY_ON_HOST,
            f"{inputs.policy_source} is {policy.format()} and {what}",
            obstacle,
            "use another host, or another policy",
            SEV_SNP,
        )
        for what, obstacle in found
    )


def _id_violation(
    requester: str, found: str, remedy: str = "sign another"
) -> Violation:
    return Violation(Requirement.ID_BLOCK, requester, found, remedy, SEV_SNP)


def _signed(found: Mapping[str, Value]) -> SignedBlock | None:
    """Return the ID block of the keys that are in effect, None without such keys."""
    block = found.get(ID_BLOCK)
    pieces = {int(name[8:]): v for name, v in found.items() if PIECE.fullmatch(name)}
    if block is None and not pieces:
        return None
    if block is None or not pieces:
        given = pieces[min(pieces)] if block is None else block
        missing = ID_BLOCK if block is None else f"{ID_AUTH}_0"
        raise given.refused(f"{PREFIX}{missing} is missing", "give both, or remove it")
    data = _base64(block.text)
    if data is None:
        raise block.refused(*_BLOCK_TAKES, "is not base64")
    if len(data) != id_block.BLOCK_BYTES:
        raise block.refused(*_BLOCK_TAKES, f"has {len(data)} bytes")
    auth, whole = _id_auth(pieces)
    return SignedBlock(data, auth, str(block), str(whole))


_BLOCK_TAKES: Final = (
    f"{SEV_SNP.title} takes {id_block.BLOCK_BYTES} bytes",
    "write them in base64",
)
_AUTH_TAKES: Final = (
    f"{SEV_SNP.title} takes {id_block.AUTH_BYTES} bytes",
    "write them, or their zlib form, in base64",
)
#: The first byte of zlib's form with a window of 32 KiB; ID_KEY_ALGO is not so large.
_ZLIB: Final = b"\x78"


def _id_auth(pieces: Mapping[int, Value]) -> tuple[bytes, Value]:
    """Return the ID authentication information of its pieces, and what has it."""
    for number in range(len(pieces)):
        if number not in pieces:
            given = pieces[max(pieces)]
            raise given.refused(
                f"piece {number} is missing", "number the pieces from 0 without a gap"
            )
    data = _base64("".join(pieces[number].text for number in range(len(pieces))))
    # Of pieces that Nova has cut, the last one is as long as the others.
    last = pieces[len(pieces) - 1]
    whole = dataclasses.replace(last, key=last.key[: len(PREFIX)] + ID_AUTH + "_*")
    if data is None:
        raise whole.refused(*_AUTH_TAKES, "is not base64")
    if data.startswith(_ZLIB):
        data = _unpacked(whole, data)
    if len(data) != id_block.AUTH_BYTES:
        raise whole.refused(*_AUTH_TAKES, f"has {len(data)} bytes")
    return data, whole


def _unpacked(whole: Value, data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        # One byte more shows that it is too long, however much it unpacks to.
        found = unpacker.decompress(data, id_block.AUTH_BYTES + 1)
    except zlib.error:
        raise whole.refused(*_AUTH_TAKES, "is not in zlib form") from None
    if len(found) > id_block.AUTH_BYTES:
        raise whole.refused(
            *_AUTH_TAKES, f"unpacks to more than {id_block.AUTH_BYTES} bytes"
        )
    if not unpacker.eof:
        raise whole.refused(*_AUTH_TAKES, "is cut")
    if unpacker.unused_data:
        raise whole.refused(*_AUTH_TAKES, "has bytes behind its zlib form")
    return found


def _policy(value: Value, *, allow_debug: bool) -> SnpPolicy:
    try:
        policy = SnpPolicy.parse(value.text)
    except ValueError as error:
        raise value.refused(
            printable(str(error)),
            "write a policy as in [sev] snp_policy, such as 0x30000",
            "is no policy",
        ) from None
    if policy.debug and not allow_debug:
        raise value.refused(
            "[sev] allow_debug is False on this host",
            "unset DEBUG",
            f"is {policy.format()}, with which the host can debug the guest",
        )
    return policy


def _host_data(value: Value, user_data: str | None) -> bytes:
    if value.text == USER_DATA:
        return _user_data_digest(value, user_data)
    data = _base64(value.text)
    if _HEX.fullmatch(value.text) and (data is None or len(data) != HOST_DATA_BYTES):
        data = bytes.fromhex(value.text)
    if data is None:
        has = "is neither in base64 nor in hexadecimal digits"
        raise value.refused(_TAKES, _HOW, has)
    if not data:
        raise value.refused(_TAKES, _HOW, "is empty")
    if len(data) != HOST_DATA_BYTES:
        raise value.refused(_TAKES, _HOW, f"has {len(data)} bytes")
    return data


def _user_data_digest(value: Value, user_data: str | None) -> bytes:
    has = f"is {USER_DATA}"
    if not user_data:
        raise value.refused(
            "the server has no user data",
            "give it user data, or 32 bytes of host data",
            has,
        )
    try:
        # As Nova decodes it for the guest: it ignores line feeds, for example.
        data = base64.b64decode(user_data)
    except ValueError:
        raise value.refused(
            "the server's user data is not base64",
            "rebuild the server with other user data",
            has,
        ) from None
    return hashlib.sha256(data).digest()


def _base64(text: str) -> bytes | None:
    """Return the bytes of a text in base64, None if it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None
