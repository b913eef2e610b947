# SPDX-License-Identifier: Apache-2.0
"""``python -m soak``: ten minutes of it; ends with 1 where anybody disagrees."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from soak import cloud, growth, processes
from soak.chance import Chance
from soak.cloud import SoakCloud, SoakError
from soak.rounds import Soak

UPDATES = 10_000
#: Of the minutes, for nova-compute to become what it then is.
WARM_UP = 0.2


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    if os.geteuid() != 0:
        print("soak: a cloud needs root, for namespaces", file=sys.stderr)
        return 2
    # Clouds end with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = Path(tempfile.mkdtemp(prefix="soak"))
    try:
        cloud.require_userland()
        if options.creates:
            _soak(folder / "cloud", options)
        if options.updates:
            _grow(folder / "growth", options.updates)
    except SoakError as error:
        print(f"soak: WRONG: {error}\nsoak: the logs are in {folder}", flush=True)
        return 1
    except BaseException:
        print(f"soak: the logs are in {folder}", flush=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    if options.creates:
        print("soak: no slot was lost, and none given twice", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m soak",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--minutes", type=float, default=10, help="of creates and deletes")
    add("--creates", type=int, default=100, help="no fewer; 0 leaves them all out")
    add("--updates", type=_updates, default=UPDATES, help="of one driver; 0 for none")
    again = "the same requests again, as far as Nova answers alike; another each time"
    add("--seed", type=int, help=again)
    return parser


def _updates(text: str) -> int:
    updates = int(text)
    if updates and updates < growth.POINTS:
        raise argparse.ArgumentTypeError(
            f"{updates} are too few: from {growth.POINTS} on, or 0"
        )
    return updates


def _soak(state: Path, options: argparse.Namespace) -> None:
    seed = random.SystemRandom().randrange(10**6)
    seed = seed if options.seed is None else options.seed
    print(f"soak: seed {seed}", flush=True)
    with SoakCloud(state) as running:
        began = time.monotonic()

        def say(text: str) -> None:
            print(f"[{time.monotonic() - began:4.0f} s] {text}", flush=True)

        soak = Soak(running, Chance(seed), say)
        seconds = options.minutes * 60
        soak.run(lambda: time.monotonic() > began + seconds * WARM_UP)
        warm = _holdings(running)
        soak.run(
            lambda: (
                time.monotonic() > began + seconds
                and soak.counts.creates >= options.creates
            )
        )
        soak.close()
        print(f"soak: {soak.counts}", flush=True)
        for name, now in _holdings(running).items():
            print(f"soak: nova-compute of {name}: {warm[name]}, at the end {now}")
            if wrong := processes.complaint(warm[name], now):
                raise SoakError(f"nova-compute of {name}: {wrong}")


def _holdings(running: SoakCloud) -> dict[str, processes.Holding]:
    """With no servers there, each time."""
    layout = running.cloud.layout
    return {name: processes.of_nova_compute(layout, name) for name in running.hosts}


def _grow(state: Path, updates: int) -> None:
    print(f"soak: {updates} updates of one driver", flush=True)
    with growth.Site(state) as site:
        points: list[growth.Point] = []
        for point in growth.measure(site, updates):
            if not points:
                print(growth.line(point), flush=True)
            print(growth.line(point.values()), flush=True)
            points.append(point)
    if complaints := growth.complaints(points):
        raise SoakError("\n  ".join(complaints))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
