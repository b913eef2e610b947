# SPDX-License-Identifier: Apache-2.0
"""facts: spellings of parameters and versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.host.facts import (
    KvmParameter,
    parse_version,
    version_of_number,
    version_text,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0\n", 0),
        ("99", 99),
        ("4294967295", 2**32 - 1),
        ("Y", None),
        ("-1", None),
        ("1" * 11, None),
        ("\u0663", None),
        (None, None),
    ],
)
def test_a_parameter_that_is_a_number(text: str | None, count: int | None) -> None:
    assert KvmParameter("/x", text).count == count


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("6.12.48+deb13-amd64", (6, 12, 48)),
        ("5.14.0-570.el9.x86_64", (5, 14, 0)),
        ("6.18-rc1", (6, 18, 0)),
        ("7", (7, 0, 0)),
        ("", None),
        ("unknown", None),
    ],
)
def test_a_version(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


def test_a_version_in_libvirts_number() -> None:
    assert version_of_number(11_003_000) == (11, 3, 0)
    assert version_text(version_of_number(9_001_002)) == "9.1.2"


@given(st.text(max_size=50))
def test_any_text_is_a_version_or_none(text: str) -> None:
    version = parse_version(text)
    assert version is None or len(version) == 3
    KvmParameter("/x", text).count  # noqa: B018
