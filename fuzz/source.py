# SPDX-License-Identifier: Apache-2.0

"""Bytes of the fuzzer's, taken as choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Gives out choices until the bytes are used up; after that, always the first.

    The same bytes give the same choices, whatever runs the target.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def empty(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        if self.empty:
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def flag(self) -> bool:
        return bool(self.byte() & 1)

    def choose(self, choices: Sequence[T]) -> T:
        return choices[self.byte() % len(choices)]

    def take(self, most: int = 255) -> bytes:
        """Return some bytes, up to ``most``; their number comes first."""
        count = min(self.byte(), most)
        found = self._data[self._at : self._at + count]
        self._at += len(found)
        return found

    def text(self, most: int = 255) -> str:
        return self.take(most).decode("utf-8", "replace")

    def rest(self) -> bytes:
        found, self._at = self._data[self._at :], len(self._data)
        return found

    def word(self, known: Sequence[str]) -> str:
        """Return mostly one of ``known``, now and then any text."""
        choice = self.byte()
        return self.text(40) if choice >= 224 else known[choice % len(known)]

    def pairs(
        self, keys: Sequence[str], values: Sequence[str], most: int = 8
    ) -> dict[str, str]:
        count = self.byte() % (most + 1)
        return {self.word(keys): self.word(values) for _ in range(count)}
