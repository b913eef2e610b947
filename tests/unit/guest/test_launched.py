# SPDX-License-Identifier: Apache-2.0
"""launched: what a host says of a launch, and how an owner compares it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.guest import launched
from sev_driver.guest.launched import Verdict


def test_each_fact_has_a_key_and_what_was_not_read_is_unknown() -> None:
    found = launched.as_metadata({"vcpus": "2", "digest": launched.unknown("no way")})
    assert found == {
        "sev:launched_digest": "unknown: no way",
        "sev:launched_firmware": "unknown: it was not read",
        "sev:launched_firmware_path": "unknown: it was not read",
        "sev:launched_vcpus": "2",
        "sev:launched_cpu": "unknown: it was not read",
        "sev:launched_features": "unknown: it was not read",
        "sev:launched_policy": "unknown: it was not read",
        "sev:launched_kernel": "unknown: it was not read",
        "sev:launched_initrd": "unknown: it was not read",
        "sev:launched_cmdline": "unknown: it was not read",
        "sev:launched_by": "unknown: it was not read",
    }


@given(st.text(max_size=600))
def test_values_fit_into_novas_metadata(value: str) -> None:
    found = launched.as_metadata({"firmware_path": value})["sev:launched_firmware_path"]
    assert len(found) <= 255 and found.isprintable()
    if len(value) < 255 and value.isprintable():
        assert found == value


def test_without_leaves_the_rest() -> None:
    metadata = {"sev:launched_cpu": "EPYC", "sev:policy": "0x30000", "a": "b"}
    assert launched.without(metadata) == {"sev:policy": "0x30000", "a": "b"}


@pytest.mark.parametrize(
    ("fact", "host", "own", "expected"),
    [
        ("digest", "62c7", "62c7", Verdict.YOURS),
        ("digest", "62c7", "dde2", Verdict.DIFFERS),
        ("digest", "62c7", None, Verdict.HOSTS_WORD),
        ("digest", "unknown: no", "62c7", Verdict.UNKNOWN),
        ("digest", "unknown: no", None, Verdict.UNKNOWN),
        ("digest", None, "62c7", Verdict.NOT_SAID),
        # Only the signature is measured.
        ("cpu", "EPYC-Milan 0xa00f11", "EPYC-Milan-v2 0xa00f11", Verdict.YOURS),
        ("cpu", "EPYC-Milan 0xa00f11", "signature 0xa00f11", Verdict.YOURS),
        ("cpu", "EPYC-Milan 0xa00f11", "EPYC-Genoa 0xa10f10", Verdict.DIFFERS),
        ("kernel", "none", "none", Verdict.YOURS),
        ("kernel", "ab", "none", Verdict.DIFFERS),
    ],
)
def test_verdicts(
    fact: str, host: str | None, own: str | None, expected: Verdict
) -> None:
    metadata = {} if host is None else {f"sev:launched_{fact}": host}
    mine = {} if own is None else {fact: own}
    (found,) = (c for c in launched.compare(metadata, mine) if c.fact == fact)
    assert (found.host, found.own, found.verdict) == (host, own, expected)
