# SPDX-License-Identifier: Apache-2.0

"""Find the known word that a misspelt one was probably meant to be."""

from __future__ import annotations

import functools

#: The most edits of a near miss: a letter omitted, added or changed, or two swapped.
EDITS = 2


@functools.lru_cache(maxsize=1024)  # most flavors and images have the same few keys
def nearest(text: str, known: tuple[str, ...]) -> str | None:
    """Return the most similar of ``known``, None if none is similar enough."""
    near = [(d, name) for name in known if (d := edits(text, name)) <= EDITS]
    # Two words of two letters always differ by at most two edits.
    near = [(d, name) for d, name in near if d == 0 or d * 2 <= len(name)]
    return min(near)[1] if near else None


def edits(one: str, other: str) -> int:
    """Return the optimal string alignment distance, or more than EDITS."""
    if abs(len(one) - len(other)) > EDITS:
        return EDITS + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
