# SPDX-License-Identifier: Apache-2.0
"""launch_inputs: what is taken, and what is refused in which words."""

from __future__ import annotations

import base64
import hashlib
import tracemalloc
import zlib

import owners_keys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.exceptions import Fault, Requirement
from sev_driver.guest import input_keys, launch_inputs
from sev_driver.guest.input_keys import Owner
from sev_driver.guest.launch_inputs import LaunchInputs, SignedBlock
from sev_driver.guest.policy import SnpPolicy
from sev_driver.host.processor import Topology
from sev_driver.model import SEV, SEV_ES, SEV_SNP, ForeignModel

DATA = bytes(range(32))
IN_BASE64 = base64.b64encode(DATA).decode()
SMT = SnpPolicy.SMT | SnpPolicy.RSVD_MBO


def parse(
    server: dict[str, str] | None = None,
    image: dict[str, str] | None = None,
    flavor: dict[str, str] | None = None,
    user_data: str | None = None,
    *,
    allow_debug: bool = False,
) -> LaunchInputs:
    return launch_inputs.parse(
        server or {},
        Owner("image 1", image or {}),
        Owner("flavor m1.snp", flavor or {}),
        user_data,
        allow_debug=allow_debug,
    )


def words(inputs: LaunchInputs) -> list[str]:
    return [str(violation) for violation in inputs.violations]


@pytest.mark.parametrize("text", [DATA.hex(), DATA.hex().upper(), IN_BASE64])
def test_host_data(text: str) -> None:
    found = parse({"sev:host_data": text})
    assert found.host_data == DATA
    assert found.violations == () and found.keys == ("sev:host_data of the server",)


# Nova's API takes wrapped base64, and Nova's metadata service decodes it.
@pytest.mark.parametrize("wrap", [0, 76])
def test_host_data_of_user_data(wrap: int) -> None:
    script = b"#cloud-config\n" * 20
    text = base64.b64encode(script).decode()
    if wrap:
        text = "\n".join(text[at : at + wrap] for at in range(0, len(text), wrap))
    found = parse({"sev:host_data": "user_data"}, user_data=text)
    assert found.host_data == hashlib.sha256(script).digest()


TAKES = "AMD SEV-SNP takes 32 bytes: write them as 64 hexadecimal digits or in base64."


@pytest.mark.parametrize(
    ("text", "has"),
    [
        (base64.b64encode(DATA[:31]).decode(), "has 31 bytes"),
        (base64.b64encode(DATA + b"x").decode(), "has 33 bytes"),
        (DATA[:31].hex(), "has 31 bytes"),
        (DATA.hex() + "00", "has 33 bytes"),
        ("", "is empty"),
        ("not base64", "is neither in base64 nor in hexadecimal digits"),
        (IN_BASE64[:-1], "is neither in base64 nor in hexadecimal digits"),
        (" " + DATA.hex(), "is neither in base64 nor in hexadecimal digits"),
        ("User_Data", "is neither in base64 nor in hexadecimal digits"),
        ("\u0663" * 64, "is neither in base64 nor in hexadecimal digits"),
    ],
)
def test_wrong_host_data(text: str, has: str) -> None:
    found = parse({"sev:host_data": text})
    assert words(found) == [f"sev:host_data of the server {has}, but {TAKES}"]
    assert found.host_data is None


@pytest.mark.parametrize(
    ("user_data", "expected"),
    [
        (None, "the server has no user data: give it user data, or 32 bytes of host"),
        ("", "the server has no user data"),
        ("abc", "the server's user data is not base64: rebuild the server"),
    ],
)
def test_user_data_that_cannot_be_bound(user_data: str | None, expected: str) -> None:
    found = parse({"sev:host_data": "user_data"}, user_data=user_data)
    (text,) = words(found)
    assert text.startswith(f"sev:host_data of the server is user_data, but {expected}")


@pytest.mark.parametrize("text", ["0x130000", "SMT|SINGLE_SOCKET", "1245184"])
def test_policy(text: str) -> None:
    found = parse({"sev:policy": text})
    assert found.policy == SMT | SnpPolicy.SINGLE_SOCKET
    assert found.policy_source == "sev:policy of the server"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is no policy, but '' is not a bit of a SEV-SNP policy"),
        ("0x10000", "is no policy, but a SEV-SNP policy 0x10000 lacks 0x20000"),
        ("0x8000000000030000", "sets reserved bits"),
        ("0x4030000", "sets reserved bits"),
        ("0x1ffffffffffffffff", "has 64 bits, the number has more"),
        ("9" * 255, "is not a number such as 51"),
        ("SMT|DBUG", "'DBUG' is not a bit of a SEV-SNP policy"),
        (
            "0xb0000",
            "is 0x000b0000, with which the host can debug the guest, but "
            "[sev] allow_debug is False on this host: unset DEBUG.",
        ),
    ],
)
def test_wrong_policy(text: str, expected: str) -> None:
    found = parse({"sev:policy": text})
    (said,) = words(found)
    assert said.startswith("sev:policy of the server is ") and expected in said
    assert found.policy is None
    assert len(said) <= 320


def test_debug_where_the_operator_allows_it() -> None:
    found = parse({"sev:policy": "0xb0000"}, allow_debug=True)
    assert found.policy is not None and found.policy.debug
    assert found.violations == ()


def test_server_comes_before_image_and_image_before_flavor() -> None:
    flavor = {"sev:model": "amd-sev-snp", "sev:policy": "0x30001"}
    image = {"sev_policy": "0x30002", "sev_host_data": DATA.hex()}
    assert parse(flavor=flavor).policy == SMT | 1
    found = parse({}, image, flavor)
    assert (found.policy, found.host_data) == (SMT | 2, DATA)
    assert found.policy_source == "sev_policy of image 1"
    found = parse({"sev:policy": "0x30003"}, image, flavor)
    assert (found.policy, found.host_data) == (SMT | 3, DATA)


def test_what_is_overridden_may_be_wrong() -> None:
    found = parse({"sev:policy": "0x30003"}, {"sev_policy": "x"})
    assert found.policy == SMT | 3 and found.violations == ()


def test_all_faults_at_once() -> None:
    server = {"sev:host_data": "x", "sev:policy": "x", "sev:hostdata": "x"}
    assert len(parse(server, {"sev_id_bloc": ""}).violations) == 4


@pytest.mark.parametrize(
    ("key", "use"),
    [
        ("sev:hostdata", "sev:host_data"),
        ("sev:Policy", "sev:policy"),
        ("SEV:policy", "sev:policy"),
        ("Sev_Host_Data", "sev:host_data"),
        ("sev:id_auth_100", "sev:id_auth_0"),
        ("sev:policyx", "sev:policy"),
        ("sev_host_data", "sev:host_data"),
        ("sev:id_auth", "sev:id_auth_0"),
        ("sev:id_auth_01", "sev:id_auth_0"),
        ("sev:", "sev:host_data, sev:policy, sev:id_block or sev:id_auth_0"),
        ("sev:model", "sev:host_data, sev:policy, sev:id_block or sev:id_auth_0"),
        ("sev:whatever", "sev:host_data, sev:policy, sev:id_block or sev:id_auth_0"),
    ],
)
def test_key_of_a_server_that_nobody_knows(key: str, use: str) -> None:
    found = parse({key: "0x30000"})
    assert words(found) == [
        f"{key} of the server is given, but there is no such launch input: use {use}, "
        f"or remove it."
    ]


@pytest.mark.parametrize(
    ("key", "use"),
    [
        ("sev_hostdata", "sev_host_data"),
        ("sev:policy", "sev_policy"),
        ("SEV_policy", "sev_policy"),
        ("sev_id_auth_00", "sev_id_auth_0"),
    ],
)
def test_property_of_an_image_that_nobody_knows(key: str, use: str) -> None:
    (said,) = words(parse(image={key: "0x30000"}))
    assert said.startswith(f"{key} of image 1 is given, ")
    assert f"use {use}, or remove it" in said


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("SEV:policy", "there is no such launch input: use sev:policy, or remove it."),
        ("sev:policyx", "there is no such launch input: use sev:policy, or remove it."),
        ("sev:host_data", "of a flavor only sev:policy is read: set it in the server"),
        ("sev:id_auth_0", "of a flavor only sev:policy is read: set it in the server"),
    ],
)
def test_key_of_a_flavor_that_is_not_read(key: str, said: str) -> None:
    (found,) = words(parse(flavor={key: "x"}))
    assert found.startswith(f"{key} of flavor m1.snp is given, but {said}")


@pytest.mark.parametrize(
    "sources",
    [
        ({"sev:launched_digest": "forged", "sev:launched_x": "", "mine": "x"}, {}, {}),
        # Of other tools: the severity of a fault, for example.
        ({"SEV:2": "", "SEV_level": "2"}, {"SEV_level": "2"}, {"SEV:2": ""}),
        ({}, {"sev_tested": "yes", "hw_mem_encryption": "true", "se": ""}, {}),
        ({}, {}, {"sev:model": "amd-sev-snp", "sev:modle": "x", "sev:shares": "2"}),
    ],
)
def test_keys_of_others(sources: tuple[dict[str, str], ...]) -> None:
    assert parse(*sources) == LaunchInputs()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], False),
        (["mine", "hw:mem_encryption", "se"], False),
        (["sev:launched_digest"], False),
        (["mine", "sev:policy"], True),
        (["SEV:Policy"], True),
        (["sev_host_data"], True),
        (["sev:model"], True),
    ],
)
def test_are_given(keys: list[str], *, expected: bool) -> None:
    assert input_keys.are_given(keys) is expected
    stored = [f"image_{key}" for key in keys]
    assert input_keys.are_given(stored, prefix="image_") is expected
    assert input_keys.are_given(stored) is False
    assert input_keys.are_given(keys, other="sev:model") is (
        expected and keys != ["sev:model"]
    )


def test_property_that_nova_has_cut() -> None:
    found = parse(image={"sev_host_data": "A" * 255})
    (said,) = words(found)
    assert "and 255 characters, where Nova cuts a property, but AMD SEV-SNP" in said
    (said,) = words(parse({"sev:host_data": "A" * 255}))
    assert "cuts" not in said


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (None, "the guest is not encrypted"),
        (SEV, "the guest is encrypted with AMD SEV"),
        (SEV_ES, "the guest is encrypted with AMD SEV-ES"),
        (ForeignModel.INTEL_TDX, "the guest is encrypted with Intel TDX"),
    ],
)
@pytest.mark.parametrize("text", ["0x30000", "wrong"])
def test_guest_that_is_not_of_snp(model: object, said: str, text: str) -> None:
    (found,) = launch_inputs.check(parse({"sev:policy": text}), model, allowed=True)  # type: ignore[arg-type]
    assert found.requirement is Requirement.NOT_SNP and found.fault is Fault.REQUEST
    assert str(found) == (
        "sev:policy of the server is a launch input of AMD SEV-SNP, but "
        f"{said}: remove it, or ask for AMD SEV-SNP."
    )


def test_check() -> None:
    none, wrong = LaunchInputs(), parse({"sev:policy": "x", "sev:host_data": "x"})
    assert launch_inputs.check(none, None, allowed=False) == ()
    assert len(launch_inputs.check(wrong, SEV_SNP, allowed=True)) == 2
    (found,) = launch_inputs.check(wrong, SEV_SNP, allowed=False)
    assert "[sev] owner_inputs is False on this host" in str(found)


@pytest.mark.parametrize(
    ("policy", "host", "expected"),
    [
        ("0x30000", Topology(True, 2), []),
        ("0x20000", Topology(True, 1), ["lacks SMT, but this host has simultaneous"]),
        ("0x20000", Topology(False, 2), []),
        ("0x20000", Topology(), []),
        ("0x130000", Topology(True, 1), []),
        ("0x130000", Topology(True, 2), ["SINGLE_SOCKET, but this host has 2 proc"]),
        ("0x120000", Topology(True, 2), ["lacks SMT", "SINGLE_SOCKET"]),
        ("0x120000", Topology(), []),
    ],
)
def test_check_host(policy: str, host: Topology, expected: list[str]) -> None:
    inputs = parse({"sev:policy": policy})
    found = launch_inputs.check_host(inputs, host)
    assert len(found) == len(expected)
    for violation, text in zip(found, expected, strict=True):
        assert text in str(violation)
        assert violation.fault is Fault.HOST
    assert bool(expected) <= launch_inputs.depends_on_host(inputs.policy)
    assert launch_inputs.check_host(LaunchInputs(), host) == ()


KEYS = st.sampled_from(
    ["sev:host_data", "sev:policy", "sev:id_block", "sev:id_auth_0", "sev:x", "sev_"]
) | st.text(max_size=12)
VALUES = st.text(max_size=300) | st.binary(max_size=190).map(
    lambda data: base64.b64encode(data).decode()
)


@given(
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.dictionaries(KEYS.map(lambda k: k.replace(":", "_")), VALUES, max_size=4),
    VALUES,
)
def test_any_text_is_an_input_or_a_violation(
    server: dict[str, str], image: dict[str, str], user_data: str
) -> None:
    found = parse(server, image, server, user_data)
    assert found.host_data is None or len(found.host_data) == 32
    assert all(said.isprintable() for said in words(found))
    if not found.keys:
        assert found == LaunchInputs()


# ID blocks

BLOCK, AUTH = owners_keys.sign(author=owners_keys.AUTHOR_KEY)
SIGNED = owners_keys.as_metadata(BLOCK, AUTH)
TAKES_AUTH = (
    "but AMD SEV-SNP takes 4096 bytes: write them, or their zlib form, in base64."
)


def base64_pieces(data: bytes, size: int = 255) -> dict[str, str]:
    text = base64.b64encode(data).decode()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return {f"sev:id_auth_{number}": piece for number, piece in enumerate(pieces)}


def with_auth(data: bytes) -> dict[str, str]:
    return {"sev:id_block": SIGNED["sev:id_block"], **base64_pieces(data)}


@pytest.mark.parametrize(
    "given",
    [
        SIGNED,
        dict(reversed(SIGNED.items())),
        with_auth(AUTH),  # 22 pieces, and so more than ten
        with_auth(zlib.compress(AUTH, 1)),
    ],
)
def test_id_block(given: dict[str, str]) -> None:
    found = parse(given)
    assert found.violations == () and found.signed is not None
    assert (found.signed.block, found.signed.auth) == (BLOCK, AUTH)
    assert found.signed.digest == owners_keys.DIGEST
    assert found.signed.has_author_key
    assert launch_inputs.check(found, SEV_SNP, allowed=True) == ()


def test_id_block_of_an_image() -> None:
    """Most pieces have as many characters as Nova keeps of a property."""
    image = {key.replace(":", "_", 1): text for key, text in SIGNED.items()}
    found = parse(image=image)
    assert found.violations == () and found.signed is not None
    assert found.signed.auth == AUTH
    other = owners_keys.as_metadata(*owners_keys.sign(svn=1))
    found = parse(other, image)  # of which one piece less is needed
    assert found.violations == () and found.signed is not None
    assert not found.signed.has_author_key
    # A block of the server does not fit the signatures of the image.
    (said,) = words(parse({"sev:id_block": other["sev:id_block"]}, image))
    assert said.startswith("sev_id_auth_* of image 1 has a wrong signature of the ID")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"sev:id_block": SIGNED["sev:id_block"]},
            "sev:id_block of the server is given, but sev:id_auth_0 is missing: give "
            "both, or remove it.",
        ),
        (
            SIGNED | {"sev:id_block": None},
            "sev:id_auth_0 of the server is given, but sev:id_block is missing: give "
            "both, or remove it.",
        ),
        (
            SIGNED | {"sev:id_auth_1": None},
            "sev:id_auth_2 of the server is given, but piece 1 is missing: number the "
            "pieces from 0 without a gap.",
        ),
        (
            SIGNED | {"sev:id_auth_0": None},
            "sev:id_auth_2 of the server is given, but piece 0 is missing: number the "
            "pieces from 0 without a gap.",
        ),
        (
            SIGNED | {"sev:id_auth_1": None, "sev:id_auth_01": "x"},
            "sev:id_auth_01 of the server is given, but there is no such launch input: "
            "use sev:id_auth_0, or remove it.",
        ),
        (
            SIGNED | {"sev:id_block": base64.b64encode(BLOCK[:95]).decode()},
            "sev:id_block of the server has 95 bytes, but AMD SEV-SNP takes 96 bytes: "
            "write them in base64.",
        ),
        (
            SIGNED | {"sev:id_block": BLOCK.hex()},
            "sev:id_block of the server has 144 bytes, but AMD SEV-SNP takes 96 bytes",
        ),
        (
            SIGNED | {"sev:id_block": "x"},
            "sev:id_block of the server is not base64, but AMD SEV-SNP takes 96 bytes",
        ),
        (
            SIGNED | {"sev:id_auth_1": "-"},
            f"sev:id_auth_* of the server is not base64, {TAKES_AUTH}",
        ),
        (
            with_auth(AUTH[:4000]),
            f"sev:id_auth_* of the server has 4000 bytes, {TAKES_AUTH}",
        ),
        (
            with_auth(zlib.compress(AUTH[:4000])),
            f"sev:id_auth_* of the server has 4000 bytes, {TAKES_AUTH}",
        ),
        (
            with_auth(zlib.compress(AUTH + b"\0")),
            "sev:id_auth_* of the server unpacks to more than 4096 bytes, "
            f"{TAKES_AUTH}",
        ),
        (
            with_auth(zlib.compress(AUTH)[:-8]),
            f"sev:id_auth_* of the server is cut, {TAKES_AUTH}",
        ),
        (
            with_auth(zlib.compress(AUTH) + b"\0"),
            f"sev:id_auth_* of the server has bytes behind its zlib form, {TAKES_AUTH}",
        ),
        (
            with_auth(b"x" + AUTH),
            f"sev:id_auth_* of the server is not in zlib form, {TAKES_AUTH}",
        ),
        (
            owners_keys.as_metadata(*owners_keys.sign(version=2)),
            "sev:id_block of the server has version 2, but AMD SEV-SNP takes version "
            "1: sign another.",
        ),
        (
            owners_keys.as_metadata(BLOCK[:-1] + b"\1", AUTH),
            "sev:id_auth_* of the server has a wrong signature of the ID block, but "
            "the ID key denies it: sign another.",
        ),
        (
            owners_keys.as_metadata(*owners_keys.sign(policy=0x30001)),
            "sev:id_block of the server is for policy 0x00030001, but [sev] "
            "snp_policy of this host has 0x00030000: set sev:policy=0x30001, or sign "
            "another.",
        ),
        (
            SIGNED | {"sev:policy": "0x30001"},
            "sev:id_block of the server is for policy 0x00030000, but sev:policy of "
            "the server has 0x00030001: set sev:policy=0x30000, or sign another.",
        ),
    ],
)
def test_wrong_id_block(given: dict[str, str | None], expected: str) -> None:
    server = {key: text for key, text in given.items() if text is not None}
    inputs = parse(server)
    found = [str(v) for v in launch_inputs.check(inputs, SEV_SNP, allowed=True)]
    assert found[0].startswith(expected)


def test_id_block_for_the_owners_policy() -> None:
    signed = owners_keys.as_metadata(*owners_keys.sign(policy=0x30001))
    inputs = parse(signed | {"sev:policy": "0x30001"})
    assert launch_inputs.check(inputs, SEV_SNP, allowed=True) == ()
    inputs = parse(signed)
    policy = SnpPolicy(0x30001)
    assert launch_inputs.check(inputs, SEV_SNP, policy, allowed=True) == ()
    # A wrong policy is not compared.
    (found,) = launch_inputs.check(
        parse(signed | {"sev:policy": "x"}), SEV_SNP, allowed=True
    )
    assert "is no policy" in str(found)


def test_pieces_that_nova_has_cut() -> None:
    image = {f"sev_id_auth_{number}": "A" * 255 for number in range(2)}
    (said,) = words(parse(image=image | {"sev_id_block": SIGNED["sev:id_block"]}))
    assert said.startswith(
        "sev_id_auth_* of image 1 is not base64 and 255 characters, where Nova cuts"
    )


def test_small_text_that_unpacks_to_much_is_refused_early() -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)
    assert len(bomb) < 70_000
    tracemalloc.start()
    (said,) = words(parse(with_auth(bomb[: 22 * 190])))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert "unpacks to more than 4096 bytes" in said


@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_authentication_information_or_a_violation(
    data: bytes, pack: bool
) -> None:
    found = parse(with_auth(zlib.compress(data) if pack else data))
    assert found.signed is None and len(found.violations) == 1


def test_digest_that_this_host_does_not_launch() -> None:
    signed = parse(SIGNED).signed
    assert signed is not None
    assert signed.digest_violations(owners_keys.DIGEST) == ()
    (found,) = signed.digest_violations("ab" * 48)
    assert str(found) == (
        "sev:id_block of the server is for launch digest 000102030405060708090a0b…, "
        "but this host would launch abababababababababababab…: use a host with the "
        "guest firmware and the CPU model that it was signed for, or sign another."
    )
    assert found.fault is Fault.HOST


QEMU = "qemu-system-x86_64: SNP_LAUNCH_FINISH ret=-5 fw_error={} 'text'"


def _signed(author: owners_keys.Key | None = None) -> LaunchInputs:
    block = SignedBlock(*owners_keys.sign(author=author), "the block", "the signatures")
    return LaunchInputs(signed=block)


@pytest.mark.parametrize(
    ("inputs", "error", "said"),
    [
        (_signed(), QEMU.format(11), "the block is for launch digest 0001"),
        (_signed(), QEMU.format(10), "the secure processor denies a signature"),
        (_signed(), QEMU.format(22), "sign another with an author key"),
        (_signed(owners_keys.AUTHOR_KEY), QEMU.format(22), None),
        (_signed(), QEMU.format(1), None),
        (_signed(), "fw_error=11 'Bad measurement'", None),
        (LaunchInputs(), QEMU.format(7), "[sev] snp_policy is the guest's policy"),
        (
            LaunchInputs(policy_source="the policy"),
            QEMU.replace("FINISH", "START").format(7),
            "the policy is the guest's policy",
        ),
        (LaunchInputs(), QEMU.format(11), None),
    ],
)
def test_error_of_the_secure_processor(
    inputs: LaunchInputs, error: str, said: str | None
) -> None:
    found = launch_inputs.explain_error(inputs, error)
    assert [said in str(violation) for violation in found] == [True] * bool(said)
