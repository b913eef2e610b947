# SPDX-License-Identifier: Apache-2.0

"""Read Tempest's results and compare them with the failures that are expected."""

from __future__ import annotations

import collections
import dataclasses
import enum
import io
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import subunit
import testtools

EXPECTED = Path(__file__).with_name("tempest_expected.toml")
PLAIN, ENCRYPTED = "plain", "encrypted"
FLAVORS = (PLAIN, ENCRYPTED)
#: Attributes that Tempest adds to a test's name: its id and its kind.
_ATTRIBUTES = re.compile(r"\[[^\]]*\]$")
_KEYS = {"test", "flavors", "says", "reason"}
#: Keys that an entry need not have: services of the cloud.
_SERVICES = {"with", "without"}


class Status(enum.Enum):
    """What became of a test."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


#: The words of subunit for all but a failure. A test that began and has no end failed.
_STATUSES = {"success": Status.PASSED, "skip": Status.SKIPPED}


@dataclasses.dataclass(frozen=True)
class Result:
    """One test, or the set-up of a class whose tests were not run for it.

    :ivar words: its traceback, or why it was skipped.
    """

    test: str
    status: Status
    words: str = ""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of Tempest, with one kind of flavors."""

    results: Mapping[str, Result]
    seconds: float

    @classmethod
    def of(cls, results: Iterable[Result], seconds: float) -> Run:
        return cls({result.test: result for result in results}, seconds)

    def count(self, status: Status) -> int:
        return sum(result.status is status for result in self.results.values())


@dataclasses.dataclass(frozen=True)
class Expected:
    """A failure that is expected, and why: see tempest_expected.toml.

    :ivar needed: services of the cloud without which the test does not fail
    :ivar unwanted: services of the cloud with which it does not fail
    """

    test: str
    flavors: frozenset[str]
    says: str
    reason: str
    needed: frozenset[str] = frozenset()
    unwanted: frozenset[str] = frozenset()

    def is_of(self, services: Set[str]) -> bool:
        """Return whether the test is expected to fail in a cloud with these services.

        :param services: those that not every cloud has
        """
        return self.needed <= services and not self.unwanted & services


def read_subunit(stream: bytes) -> list[Result]:
    """Return the results in a stream of subunit v2, as ``stestr last --subunit`` has.

    Tests that the stream only lists are left out.
    """
    found: list[Result] = []

    def add(test: Mapping[str, Any]) -> None:
        if test["id"] and test["status"] != "exists":
            found.append(_result(test))

    results = testtools.StreamToDict(add)
    results.startTestRun()
    subunit.ByteStreamToStreamResult(io.BytesIO(stream)).run(results)
    results.stopTestRun()
    return found


def _result(test: Mapping[str, Any]) -> Result:
    details = test["details"]
    name = "reason" if "reason" in details else "traceback"
    words = details[name].as_text() if name in details else ""
    status = _STATUSES.get(test["status"], Status.FAILED)
    return Result(_ATTRIBUTES.sub("", test["id"]), status, words.strip())


def read_expected(text: str) -> list[Expected]:
    """Return the entries of a file such as tempest_expected.toml.

    :raises ValueError: an entry lacks something or says something unknown.
    """
    tables = tomllib.loads(text)
    found = [_expected(entry) for entry in tables.pop("failure", [])]
    if tables:
        raise ValueError(f"unknown tables: {', '.join(sorted(tables))}")
    tests = collections.Counter(entry.test for entry in found)
    if twice := sorted(test for test, count in tests.items() if count > 1):
        raise ValueError(f"listed twice: {', '.join(twice)}")
    return found


def _expected(entry: Mapping[str, Any]) -> Expected:
    name = entry.get("test", "a failure without a test")
    if entry.keys() - _SERVICES != _KEYS:
        keys = ", ".join(sorted((entry.keys() - _SERVICES) ^ _KEYS))
        raise ValueError(f"{name}: missing or unknown: {keys}")
    if empty := sorted(key for key, value in entry.items() if not value):
        raise ValueError(f"{name}: empty: {', '.join(empty)}")
    if unknown := sorted(set(entry["flavors"]) - set(FLAVORS)):
        raise ValueError(f"{name}: unknown flavors: {', '.join(unknown)}")
    return Expected(
        test=entry["test"],
        flavors=frozenset(entry["flavors"]),
        says=entry["says"],
        reason=entry["reason"],
        needed=frozenset(entry.get("with", ())),
        unwanted=frozenset(entry.get("without", ())),
    )


def complaints(
    runs: Mapping[str, Run], expected: Sequence[Expected], *, whole: bool
) -> list[str]:
    """Return a line for each result that is not as expected.

    :param runs: by the kind of their flavors.
    :param whole: whether all tests were selected; then each expected failure must
        name one of them.
    """
    lines: list[str] = []
    for flavors, run in runs.items():
        entries = {each.test: each for each in expected if flavors in each.flavors}
        lines += [f"{flavors}: {line}" for line in _of_run(run, entries, whole)]
    if set(runs) == set(FLAVORS):
        lines += _between(runs[PLAIN], runs[ENCRYPTED])
    return lines


def _of_run(run: Run, entries: Mapping[str, Expected], whole: bool) -> Iterator[str]:
    """Compare one run with what is expected of it."""
    if not run.count(Status.PASSED):
        yield "no test passed"
    for test, result in run.results.items():
        entry = entries.get(test)
        if result.status is Status.FAILED:
            if entry is None:
                yield f"{test} failed: {_last_line(result.words)}"
            elif entry.says not in result.words:
                yield (
                    f"{test} failed, but not with the expected words: "
                    f"{_last_line(result.words)}"
                )
        elif entry is not None:
            yield (
                f"{test} {result.status.value}, but {EXPECTED.name} expects it to fail"
            )
    if whole:
        for test in entries.keys() - run.results.keys():
            yield f"{test} was not run, but {EXPECTED.name} expects it to fail"


def _between(plain: Run, encrypted: Run) -> Iterator[str]:
    """Compare what the two runs skipped, and which tests they had.

    Else a failed set-up, or a skip because of the flavor, would hide tests.
    """
    for test in sorted(plain.results.keys() | encrypted.results.keys()):
        found = [run.results.get(test) for run in (plain, encrypted)]
        words = ["not run" if each is None else each.status.value for each in found]
        if words[0] != words[1] and not {"passed", "failed"}.issuperset(words):
            yield f"{test}: {words[0]} with plain flavors, {words[1]} with encrypted"


def _last_line(words: str) -> str:
    return words.rpartition("\n")[2] or "without a traceback"


def table(runs: Mapping[str, Run]) -> list[str]:
    """Return the lines of the table of runs."""
    cells = [["flavors", "tests", "passed", "failed", "skipped", "seconds"]]
    for flavors, run in runs.items():
        counts = [run.count(status) for status in Status]
        numbers = [len(run.results), *counts, round(run.seconds)]
        cells.append([flavors, *map(str, numbers)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " | ".join(
            word.ljust(width) if column == 0 else word.rjust(width)
            for column, (word, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return lines


def differences(runs: Mapping[str, Run], expected: Sequence[Expected]) -> Iterator[str]:
    """Yield a line for each expected failure that the runs had, with its reason."""
    for entry in expected:
        failed = [
            flavors
            for flavors, run in runs.items()
            if flavors in entry.flavors
            and entry.test in run.results
            and run.results[entry.test].status is Status.FAILED
        ]
        if failed:
            yield f"{entry.test} ({', '.join(failed)}): {entry.reason}"
