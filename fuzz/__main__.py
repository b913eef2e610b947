# SPDX-License-Identifier: Apache-2.0

"""``python -m fuzz``: a million hostile inputs, a table of what came of them."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz import session
from fuzz.table import targets

TARGETS = {target.name: target for target in targets()}

#: Kept between runs: each goes on with what the one before has learnt.
FOLDER = session.ROOT / ".fuzz"


def shares(inputs: int, names: list[str]) -> dict[str, int]:
    """Return how many of the inputs each target gets: ``inputs`` in all, or more.

    None gets less than a thousandth, however slow it is.
    """
    weights = {name: 1 / TARGETS[name].slow for name in names}
    total = sum(weights.values())
    fair = {name: -int(-inputs * weight // total) for name, weight in weights.items()}
    return {name: max(share, -(-inputs // 1000)) for name, share in fair.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    add("--inputs", type=int, default=1_000_000, help="of all targets (1000000)")
    add("--seed", type=int, default=0, help="the same inputs again (another each time)")
    add("--corpus", type=Path, default=FOLDER, help="where it is kept (.fuzz)")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(
            f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        )
    try:
        session.check_fuzzer()
    except session.NotHere as error:
        print(f"Not done: {error}.", file=sys.stderr)
        return 2
    wanted = shares(options.inputs, options.targets or list(TARGETS))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = [
            pool.submit(session.run, name, share, options.corpus, options.seed)
            for name, share in wanted.items()
        ]
        print(f"{'target':20}{'inputs':>10}{'seconds':>9}{'edges':>7}", flush=True)
        outcomes = []
        for future in futures:
            outcomes.append(future.result())
            _print(outcomes[-1])
    total = sum(outcome.executions for outcome in outcomes)
    found = [outcome for outcome in outcomes if outcome.finding]
    print(f"{'in all':20}{total:>10}")
    print(f"{len(found)} of {len(outcomes)} targets with a finding.")
    return 1 if found else 0


def _print(outcome: session.Outcome) -> None:
    figures = f"{outcome.executions:>10}{outcome.seconds:>9.0f}{outcome.edges:>7}"
    print(f"{outcome.target:20}{figures}", flush=True)
    if outcome.finding:
        print(f"  {outcome.finding}\n  input: {outcome.kept}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
