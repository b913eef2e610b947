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
"""``python -m benchmarks``: run all, keep the results, write table and plot."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import plot, report, sizes
from benchmarks.creates import Site
from benchmarks.measures import ALL
from benchmarks.samples import DRIVERS, Series


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    if not options.report:
        if os.geteuid() != 0:
            print("benchmarks: a cloud needs root, for namespaces", file=sys.stderr)
            return 2
        about = report.machine(options.remark)
        found: list[Series] = []
        for some in _run(getattr(sizes, options.sizes.upper()), options.only):
            found += some
            report.write(options.results, about, found)  # what there is so far
    about, found = report.read(options.results)
    table = report.table(about, found)
    (options.results / "table.rst").write_text(table)
    plot.draw(found, options.results / "ratios.svg")
    if options.readme:
        short = report.short(about, found)
        text = report.README.read_text()
        report.README.write_text(report.put_into(text, short))
    print(table)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--sizes", choices=["full", "short", "quick"], default="full")
    parser.add_argument("--only", nargs="+", choices=list(ALL), default=list(ALL))
    parser.add_argument("--results", type=Path, default=report.RESULTS)
    parser.add_argument("--remark", default="shared", help="of the machine")
    parser.add_argument("--readme", action="store_true", help="put the table there")
    parser.add_argument("--report", action="store_true", help="run nothing")
    return parser


def _run(how_much: sizes.Sizes, only: list[str]) -> Iterator[list[Series]]:
    # Clouds end with us, and so do their folders.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = Path(tempfile.mkdtemp(prefix="bench"))
    try:
        with contextlib.ExitStack() as stack:
            needed = DRIVERS if "create" in only else {"ours": DRIVERS["ours"]}
            sites = {
                name: stack.enter_context(Site(folder / name, name)) for name in needed
            }
            for name in only:
                began = time.monotonic()
                print(f"benchmarks: {name} ...", file=sys.stderr, flush=True)
                yield list(ALL[name](sites, how_much))
                took = time.monotonic() - began
                print(f"benchmarks: {name}: {took:.0f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
