# SPDX-License-Identifier: Apache-2.0

"""tools/tempest_results.py: what Tempest's results say, and what fails make tempest."""

import io
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
import subunit
from installations import ROOT

SUSPEND = "tempest.api.X.test_suspend"
OTHER = "tempest.api.X.test_other"
WORDS = "Traceback (most recent call last):\nBadRequest: suspend is not supported"
TOML = """
[[failure]]
test = "tempest.api.X.test_suspend"
flavors = ["encrypted"]
says = "suspend is not supported"
reason = "Nova refuses it."
"""


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import tempest_results

    return tempest_results


def run(results: ModuleType, found: Mapping[str, str], words: str = "") -> Any:
    """Return a run from the status of each test; ``words`` are of those that failed."""
    return results.Run.of(
        [
            results.Result(
                test, results.Status(status), words if status == "failed" else ""
            )
            for test, status in found.items()
        ],
        12.4,
    )


def stream(*tests: tuple[str, str, str, str]) -> bytes:
    """Return what Tempest writes: name, status, and a detail and its text."""
    output = io.BytesIO()
    to = subunit.StreamResultToBytes(output)
    for name, status, detail, text in tests:
        to.status(test_id=name, test_status="inprogress")
        if detail:
            to.status(
                test_id=name,
                file_name=detail,
                file_bytes=text.encode(),
                mime_type="text/plain; charset=utf8",
                eof=True,
            )
        if status != "inprogress":
            to.status(test_id=name, test_status=status)
    return output.getvalue()


def test_each_status_is_read_from_the_stream(results: ModuleType) -> None:
    found = results.read_subunit(
        stream(
            ("tempest.api.X.test_a[id-1,smoke]", "success", "", ""),
            ("tempest.api.X.test_b[id-2]", "fail", "traceback", WORDS),
            ("setUpClass (tempest.api.Y)", "skip", "reason", "needs a network\n"),
            ("tempest.api.X.test_c(one)[id-3]", "uxsuccess", "", ""),
        )
    )
    passed, failed, skipped = results.Status
    assert found == [
        results.Result("tempest.api.X.test_a", passed),
        results.Result("tempest.api.X.test_b", failed, WORDS),
        results.Result("setUpClass (tempest.api.Y)", skipped, "needs a network"),
        results.Result("tempest.api.X.test_c(one)", failed),
    ]


def test_a_test_without_an_end_has_failed(results: ModuleType) -> None:
    (found,) = results.read_subunit(
        stream(("tempest.api.X.test_a[id-1]", "inprogress", "", ""))
    )
    assert found.status is results.Status.FAILED


def test_a_test_that_is_only_listed_is_no_result(results: ModuleType) -> None:
    output = io.BytesIO()
    to = subunit.StreamResultToBytes(output)
    to.status(test_id="tempest.api.X.test_a", test_status="exists")
    assert results.read_subunit(output.getvalue()) == []


def test_the_list_of_expected_failures_is_read(results: ModuleType) -> None:
    entries = results.read_expected(results.EXPECTED.read_text())
    assert len(entries) >= 5
    suspend = [entry for entry in entries if "suspend" in entry.says]
    # The other tests that suspend a server ask for a network.
    assert len([entry for entry in suspend if entry.is_of(set())]) == 3
    assert len(suspend) == 6
    assert all(entry.flavors == {"encrypted"} for entry in suspend)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('reason = "Nova refuses it."', "", "missing or unknown: reason"),
        ('reason = "Nova refuses it."', 'reason = ""', "empty: reason"),
        ('says = "suspend is not supported"', 'says = ""', "empty: says"),
        ('["encrypted"]', "[]", "empty: flavors"),
        ('["encrypted"]', '["tiny"]', "unknown flavors: tiny"),
        ("reason", "because", "missing or unknown: because, reason"),
        ("[[failure]]", "[[skip]]", "unknown tables: skip"),
    ],
)
def test_an_entry_that_lacks_something_is_refused(
    results: ModuleType, old: str, new: str, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        results.read_expected(TOML.replace(old, new))


@pytest.mark.parametrize(
    ("line", "services", "is_expected"),
    [
        ("", set(), True),
        ("", {"cinder"}, True),
        ('with = ["cinder"]', set(), False),
        ('with = ["cinder"]', {"cinder", "neutron"}, True),
        ('without = ["neutron"]', {"cinder"}, True),
        ('without = ["neutron"]', {"neutron"}, False),
        ('with = ["cinder"]\nwithout = ["neutron"]', {"cinder", "neutron"}, False),
    ],
)
def test_a_failure_may_depend_on_the_services_of_the_cloud(
    results: ModuleType, line: str, services: set[str], is_expected: bool
) -> None:
    (entry,) = results.read_expected(TOML + line)
    assert entry.is_of(services) is is_expected


def test_a_test_that_is_listed_twice_is_refused(results: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"listed twice: .*X\.test_suspend"):
        results.read_expected(TOML * 2)


@pytest.mark.parametrize(
    ("plain", "encrypted", "words", "says"),
    [
        # As expected.
        ("passed", "failed", WORDS, []),
        # With words of another cause.
        (
            "passed",
            "failed",
            "Traceback:\nTimeout: too slow",
            [
                f"encrypted: {SUSPEND} failed, but not with the expected words: "
                "Timeout: too slow"
            ],
        ),
        # Neither passing nor skipping is a failure.
        (
            "passed",
            "passed",
            "",
            [
                f"encrypted: {SUSPEND} passed, but tempest_expected.toml expects it to "
                "fail"
            ],
        ),
        (
            "skipped",
            "skipped",
            "",
            [
                f"encrypted: {SUSPEND} skipped, but tempest_expected.toml expects it "
                "to fail"
            ],
        ),
        # It is expected with encrypted flavors only.
        (
            "failed",
            "failed",
            WORDS,
            [f"plain: {SUSPEND} failed: BadRequest: suspend is not supported"],
        ),
    ],
)
def test_the_expected_failure_must_be_as_it_is_listed(
    results: ModuleType, plain: str, encrypted: str, words: str, says: list[str]
) -> None:
    runs = {
        "plain": run(results, {SUSPEND: plain, OTHER: "passed"}, words),
        "encrypted": run(results, {SUSPEND: encrypted, OTHER: "passed"}, words),
    }
    expected = results.read_expected(TOML)
    assert results.complaints(runs, expected, whole=True) == says


def test_a_failure_that_is_not_listed_is_named(results: ModuleType) -> None:
    runs = {"encrypted": run(results, {OTHER: "failed", SUSPEND: "passed"}, WORDS)}
    assert results.complaints(runs, [], whole=False) == [
        f"encrypted: {OTHER} failed: BadRequest: suspend is not supported"
    ]


def test_a_run_in_which_no_test_passed_is_wrong(results: ModuleType) -> None:
    runs = {"plain": run(results, {OTHER: "skipped"})}
    assert results.complaints(runs, [], whole=False) == ["plain: no test passed"]


@pytest.mark.parametrize(
    ("plain", "encrypted", "says"),
    [
        ("passed", "skipped", "passed with plain flavors, skipped with encrypted"),
        ("passed", None, "passed with plain flavors, not run with encrypted"),
        (None, "skipped", "not run with plain flavors, skipped with encrypted"),
        ("skipped", "skipped", None),
    ],
)
def test_both_flavors_must_have_run_the_same_tests(
    results: ModuleType, plain: str | None, encrypted: str | None, says: str | None
) -> None:
    runs = {
        flavors: run(
            results,
            {"tempest.good": "passed"} | ({OTHER: status} if status else {}),
        )
        for flavors, status in (("plain", plain), ("encrypted", encrypted))
    }
    wanted = [f"{OTHER}: {says}"] if says else []
    assert results.complaints(runs, [], whole=True) == wanted


def test_an_entry_must_name_a_test_when_all_are_run(results: ModuleType) -> None:
    runs = {"encrypted": run(results, {OTHER: "passed"})}
    expected = results.read_expected(TOML)
    assert results.complaints(runs, expected, whole=False) == []
    (line,) = results.complaints(runs, expected, whole=True)
    assert line.startswith(f"encrypted: {SUSPEND} was not run")


def test_the_table_has_a_line_for_each_run(results: ModuleType) -> None:
    runs = {
        "plain": run(results, {SUSPEND: "passed", OTHER: "skipped"}),
        "encrypted": run(results, {SUSPEND: "failed", OTHER: "skipped"}, WORDS),
    }
    assert results.table(runs) == [
        "flavors   | tests | passed | failed | skipped | seconds",
        "----------+-------+--------+--------+---------+--------",
        "plain     |     2 |      1 |      0 |       1 |      12",
        "encrypted |     2 |      0 |      1 |       1 |      12",
    ]


def test_the_expected_failures_are_shown_with_their_reasons(
    results: ModuleType,
) -> None:
    runs = {
        "plain": run(results, {SUSPEND: "passed"}),
        "encrypted": run(results, {SUSPEND: "failed"}, WORDS),
    }
    expected = results.read_expected(TOML)
    assert list(results.differences(runs, expected)) == [
        f"{SUSPEND} (encrypted): Nova refuses it."
    ]
    assert list(results.differences({"plain": runs["plain"]}, expected)) == []
