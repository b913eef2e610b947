# SPDX-License-Identifier: Apache-2.0

"""One target under Atheris, in this process: ``python -m fuzz.one TARGET FOLDER ...``.

It ends by itself: libFuzzer calls exit after the last input, or at a finding. What
follows FOLDER is passed on to libFuzzer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

from fuzz import table


def main(name: str, folder: Path, *options: str) -> None:
    others = [name.partition(":")[0]] if ":" in name else []
    # Followed is our own code, and what it calls of Python's own that reads for us.
    with atheris.instrument_imports(
        include=["sev_driver", "devcloud.simhost", "json", *others]
    ):
        target = table.find(name)
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [sys.argv[0], str(corpus), *options]
    if target.words:
        words = folder / "words"
        words.write_text("".join(f"{_quoted(word)}\n" for word in target.words))
        arguments.append(f"-dict={words}")
    atheris.Setup(arguments, target.run)
    atheris.Fuzz()


def _quoted(word: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"'


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
