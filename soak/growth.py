# SPDX-License-Identifier: Apache-2.0
"""Ten thousand periodic updates of one driver: does it hold more after them?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devcloud.layout import TREE
from devcloud.restarts import Restarts
from devcloud.testing import CloudFixture
from soak.cloud import HOST, TOTALS, SoakError, parts

#: The first one is taken after a tenth of the updates: by then all that is asked
#: once has been asked.
POINTS = 10
Point = dict[str, int]

NOVA = {
    # For the size of a qcow2 Nova starts a process, of each guest and each time.
    "libvirt": {"images_type": "raw"},
    "sev": {"num_sev_es_guests": str(TOTALS["es"])},
}


class Site(CloudFixture):
    """A cloud of one host, on which a guest of each kind runs."""

    def __init__(self, state: Path) -> None:
        super().__init__(state, nova=NOVA, **HOST)

    def _setUp(self) -> None:
        super()._setUp()
        for kind, (flavor, image) in parts(self).items():
            server = self.boot(kind, flavor, image)
            if server.status != "ACTIVE":
                raise SoakError(f"{kind} was not built: {server.fault}")


def measure(site: Site, updates: int, points: int = POINTS) -> Iterator[Point]:
    """What the driver's process holds, at so many points, each when it is known."""
    layout, restarts = site.cloud.layout, Restarts(site.cloud)
    output = layout.tmp / "points"
    output.touch()
    command = ["env", f"PYTHONPATH={TREE}", f"LIBVIRT_DEFAULT_URI={restarts.host.uri}"]
    command += [sys.executable, "-m", "soak.on_host"]
    command += [str(layout.etc("nova") / "nova.conf"), str(output)]
    command += [str(updates), str(points)]
    with ThreadPoolExecutor(1) as pool, output.open() as file:
        running = pool.submit(restarts.run, *command)
        while not running.done():
            futures.wait([running], timeout=1)
            yield from map(json.loads, file)
        try:
            running.result()
        except subprocess.CalledProcessError as error:
            raise SoakError(f"the driver's process: {error.stderr[-4000:]}") from error


def complaints(points: list[Point]) -> list[str]:
    """What has grown by more than it may between the first point and the last."""
    first, last = points[0], points[-1]
    found = []
    for what, bound in bounds(last["updates"] - first["updates"]).items():
        grown = last[what] - first[what]
        if grown > bound:
            found.append(
                f"{what} grew from {first[what]} to {last[what]} in "
                f"{last['updates'] - first['updates']} updates; {bound} is allowed"
            )
    return found


def bounds(updates: int) -> Point:
    """By how much each may grow.

    What an update keeps is at least one object or block of memory, so that a leak
    shows in the same number as there were updates.
    """
    return {
        "files": 0,
        "threads": 0,
        "objects": 50 + updates // 20,
        "blocks": 1000 + updates // 10,
        "resident": (1 << 20) + updates * 100,
    }


def line(words: Iterable[object]) -> str:
    """Of a table: a point's names, or its numbers."""
    return "".join(f"{word!s:>12}" for word in words)
