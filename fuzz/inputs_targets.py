# SPDX-License-Identifier: Apache-2.0

"""What the owner of a guest writes: launch inputs, ID blocks and their signatures."""

from __future__ import annotations

import base64
import tracemalloc
import zlib

from fuzz.source import Source
from fuzz.target import Target, check_words, must
from sev_driver.guest import id_block, input_keys, launch_inputs
from sev_driver.guest.input_keys import Owner
from sev_driver.guest.launch_inputs import LaunchInputs
from sev_driver.host.processor import Topology
from sev_driver.model import SEV_ES, SEV_SNP

_KEYS = (
    "sev:host_data", "sev:policy", "sev:id_block", "sev:id_auth_0", "sev:id_auth_1",
    "sev:id_auth_01", "sev:hostdata", "SEV:policy", "Sev_host_data",
    "sev:launched_digest", "sev:model", "mine",
)  # fmt: skip
_IN_BASE64 = base64.b64encode(bytes(32)).decode()
_VALUES = (
    "user_data", "0x30000", "SMT|SINGLE_SOCKET", "0xb0000", "00" * 32, _IN_BASE64,
    base64.b64encode(bytes(96)).decode(), "A" * 255, "", "x\n2026-01-01 ERROR a line",
)  # fmt: skip
_HOST = Topology(has_smt=True, sockets=2)
#: The most memory that any input may take while it is unpacked.
_MEMORY = 1 << 20


def _inputs(data: bytes) -> None:
    source = Source(data)
    server = source.pairs(_KEYS, _VALUES)
    image = {k.replace(":", "_", 1): v for k, v in source.pairs(_KEYS, _VALUES).items()}
    flavor = source.pairs(_KEYS, _VALUES)
    owners = Owner("image 1", image), Owner("flavor m1", flavor)
    found = launch_inputs.parse(server, *owners, source.text())
    given = any(map(input_keys.are_given, (server, image, flavor)))
    must(given or not found.keys, "keys that the first look does not see")
    _check(found)


def _check(found: LaunchInputs) -> None:
    must(len(found.host_data or bytes(32)) == 32, "host data of another size")
    violations = launch_inputs.check(found, SEV_SNP, allowed=True)
    violations += launch_inputs.check(found, SEV_ES, allowed=True)
    for violation in violations + launch_inputs.check_host(found, _HOST):
        check_words(str(violation))
    must(found.policy is None or not found.policy.debug, "a policy with DEBUG")
    signed = found.signed
    if signed is not None:
        sizes = len(signed.block), len(signed.auth)
        must(sizes == (96, 4096), f"an ID block of {sizes} bytes")


def _id_auth(data: bytes) -> None:
    """The ID authentication information in pieces, packed or as it is."""
    source = Source(data)
    packed, cut = source.flag(), source.byte()
    repeats = source.byte() ** 2
    raw = source.rest() * (1 + repeats)
    text = base64.b64encode(zlib.compress(raw, 1) if packed else raw).decode()
    text = text[: len(text) - cut][: 100 * 255]
    server = {
        f"sev:id_auth_{number}": text[at : at + 255]
        for number, at in enumerate(range(0, len(text), 255))
    }
    server["sev:id_block"] = base64.b64encode(bytes(96)).decode()
    tracemalloc.start()
    try:
        found = launch_inputs.parse(server, Owner("", {}), Owner("", {}))
        must(tracemalloc.get_traced_memory()[1] < _MEMORY, "it takes too much memory")
    finally:
        tracemalloc.stop()
    must(bool(found.violations), "an ID block of zeros is taken")
    _check(found)


def _id_block(data: bytes) -> None:
    block = data[: id_block.BLOCK_BYTES].ljust(id_block.BLOCK_BYTES, b"\0")
    auth = data[id_block.BLOCK_BYTES :][: id_block.AUTH_BYTES]
    auth = auth.ljust(id_block.AUTH_BYTES, b"\0")
    found = list(id_block.check(block, auth))
    must(bool(found), "a forged signature is taken")
    for fault in found:
        check_words(f"{fault.has}, {fault.rule}")
    must(len(id_block.IdBlock.parse(block).digest) == 96, "no digest")
    id_block.has_author_key(auth)


def _signed() -> list[bytes]:
    """Return an ID block with fields that are right, and no signature."""
    block = bytes(80) + b"\1\0\0\0" + bytes(4) + (0x30000).to_bytes(8, "little")
    auth = bytearray(id_block.AUTH_BYTES)
    auth[0] = auth[4] = 1
    auth[0x240] = auth[0x880] = 2
    return [block + bytes(auth), block, bytes(96)]


TARGETS = (
    Target(
        "launch-inputs", _inputs, lambda: [bytes(40), bytes(range(80))], _VALUES[:4]
    ),
    Target(
        "id-auth", _id_auth, lambda: [b"\1\0\xff" + bytes(9), b"\0\0\0x\x9c"], slow=4
    ),
    Target("id-block", _id_block, _signed, slow=4),
)
