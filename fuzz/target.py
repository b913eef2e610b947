# SPDX-License-Identifier: Apache-2.0

"""What a target is, and what it may not do: anything but values or our errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sev_driver.exceptions import SevDriverError

DATA = Path(__file__).parents[1] / "tests/data"

#: Far above any message of ours: what is longer carries the input along.
_MESSAGE_CHARACTERS = 1000


class Finding(AssertionError):
    """A target did what no parser may do."""


@dataclasses.dataclass(frozen=True)
class Target:
    """One parser, or some that go together.

    :param run: takes any bytes; what it raises is a finding.
    :param seeds: inputs to begin with, mostly of the tests' data.
    :param words: what the fuzzer cannot be expected to guess.
    :param slow: how many times slower than the others it is: it gets so many
        times fewer of the inputs.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]] = tuple
    words: Sequence[str] = ()
    slow: int = 1


@contextmanager
def own_errors(*also: type[Exception]) -> Iterator[None]:
    """Take an error of ours for an answer; its words must be fit for a log.

    :param also: what the parser's docstring names beside our own.
    """
    expected: tuple[type[Exception], ...] = (SevDriverError, *also)
    try:
        yield
    except expected as error:
        check_words(str(error))


def check_words(text: str, most: int = _MESSAGE_CHARACTERS) -> None:
    """:raises Finding: the words are too long, of several lines, or no UTF-8."""
    if len(text) > most:
        raise Finding(f"a message of {len(text)} characters: {text[:80]!r}…")
    if any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u2029" for c in text):
        raise Finding(f"a message with control characters: {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Finding(f"a message that no log can hold: {text!r}") from error


def must(so: bool, what: str) -> None:
    """:raises Finding: it is not so."""
    if not so:
        raise Finding(what)


def files(*patterns: str) -> list[bytes]:
    """Return the contents of the tests' data, those that are no longer than a page."""
    found = (path for pattern in patterns for path in sorted(DATA.glob(pattern)))
    return [data for path in found if len(data := path.read_bytes()) <= 8192]
