#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

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
    with atheris.instrument_imports(include=["sev_driver", "json", "tarfile", *others]):
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
