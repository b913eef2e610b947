# SPDX-License-Identifier: Apache-2.0

"""Find words that no operator's manual uses, in what operators and engineers read.

``check_words.py`` searches the pages in ``PLACES``. It prints each place with such a
word, and ends with status 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The pages that are free of such words. Add a page as soon as it is.
PLACES = (
    "*.rst",
    "doc/source/**/*.rst",
    "releasenotes/notes/*.yaml",
    "sev_driver/**/*.py",
)
#: Each word, and what to write instead. "none" is in lower case only: Python's
#: ``is None`` is no such word.
WORDS = {
    r"\btold\b": "reported, said, named, or the active voice",
    r"\btells\b": "says, reports, shows",
    r"\banew\b": "again, or leave it out",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bheed(?:s|ed)?\b": "follow, use",
    r"\breckon(?:s|ed|ing)?\b": "compute, count",
    r"\bwhat is so\b": "the cause, the state",
    r"\b(?:is|are|was|were) (?-i:none)\b": "does not exist, is not set, there is no",
    r"\bof ours\b": "of sev_driver",
    r"\bwhoever\b": "the user who, anybody who",
    r"\bto be had\b": "available",
    r"\bhitherto\b": "so far",
    r"\bworth a look\b": "useful to check",
    r"\bstranger(?:s|'s)?\b": "guest not managed by Nova, another user",
    r"\bfirmware set-?up\b": "BIOS setup",
    r"\bhindrance": "obstacle",
    # Not words, but as wrong: what a merge leaves.
    r"^(?:<{7}|>{7}) ": "the lines of one side",
}
_PATTERN = re.compile("|".join(f"({word})" for word in WORDS), re.IGNORECASE)


def main() -> int:
    """Print each place; return 1 where there is one."""
    found = list(places())
    for place in found:
        print(place)
    if found:
        print(f"{len(found)} places; see CONTRIBUTING.rst, How code and text read")
    return 1 if found else 0


def places() -> Iterator[str]:
    """Yield ``FILE:LINE: WORD: what to write instead``."""
    for pattern in PLACES:
        paths = sorted(ROOT.glob(pattern))
        if not paths:
            yield f"{pattern}: no such file: remove it from PLACES"
        for path in paths:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                for match in _PATTERN.finditer(line):
                    instead = list(WORDS.values())[(match.lastindex or 1) - 1]
                    where = f"{path.relative_to(ROOT)}:{number}"
                    yield f"{where}: {match.group(0)}: {instead}"


if __name__ == "__main__":
    sys.exit(main())
