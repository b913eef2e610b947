# SPDX-License-Identifier: Apache-2.0
"""launch_inputs: what is taken, and what is refused in which words."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.exceptions import Fault, Requirement
from sev_driver.guest import launch_inputs
from sev_driver.guest.launch_inputs import LaunchInputs, Owner
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
    assert found.policy is None and found.policy_source == ""
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
        ("sev:policyx", "sev:policy"),
        ("sev_host_data", "sev:host_data"),
        ("sev:id_auth", "sev:id_auth_0"),
        ("sev:id_auth_01", "sev:id_auth_0"),
        ("sev:", "sev:host_data, sev:policy, sev:id_block or sev:id_auth_0"),
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
        ({}, {"sev_tested": "yes", "hw_mem_encryption": "true", "se": ""}, {}),
        ({}, {}, {"sev:model": "amd-sev-snp", "sev:modle": "x", "sev:shares": "2"}),
    ],
)
def test_keys_of_others(sources: tuple[dict[str, str], ...]) -> None:
    assert parse(*sources) == LaunchInputs()


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([{"mine": "x"}, {"sev:model": "x"}], False),
        ([{"sev:launched_digest": "x"}], False),
        ([{"sev:policy": ""}, {}], True),
        ([{}, {"sev_host_data": ""}], True),
    ],
)
def test_are_given(sources: list[dict[str, str]], *, expected: bool) -> None:
    assert launch_inputs.are_given(*sources) is expected
    stored = [{f"image_{k}": v for k, v in each.items()} for each in sources]
    assert launch_inputs.are_given(*stored, prefix="image_") is expected
    assert launch_inputs.are_given(*stored) is False


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
