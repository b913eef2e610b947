# SPDX-License-Identifier: Apache-2.0
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
    print(table)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--sizes", choices=["full", "short", "quick"], default="full")
    parser.add_argument("--only", nargs="+", choices=list(ALL), default=list(ALL))
    parser.add_argument("--results", type=Path, default=report.RESULTS)
    parser.add_argument("--remark", default="shared", help="of the machine")
    parser.add_argument("--report", action="store_true", help="run nothing")
    return parser


def _run(how_much: sizes.Sizes, only: list[str]) -> Iterator[list[Series]]:
    # Clouds end with us, and so do their folders.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = Path(tempfile.mkdtemp(prefix="bench"))
    keep = False
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
    except Exception:
        print(f"benchmarks: the clouds' logs are in {folder}", file=sys.stderr)
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
