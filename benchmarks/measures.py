# SPDX-License-Identifier: Apache-2.0
"""Each benchmark: what is run, and what becomes of the answers."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.creates import Site
from benchmarks.samples import DRIVERS, Series, interleave
from benchmarks.sizes import Sizes
from devcloud.restarts import Restarts

ROOT = Path(__file__).parents[1]
Sites = dict[str, Site]


class MeasureError(RuntimeError):
    """A benchmark did not run to its end; the message has what it said."""


def on_host(site: Site, module: str, *arguments: str) -> str:
    """What a module of ours prints that runs beside a cloud's libvirtd."""
    restarts = Restarts(site.cloud)
    where = [
        f"PYTHONPATH={ROOT}",
        f"LIBVIRT_DEFAULT_URI={restarts.host.uri}",
        # Like Nova's, our modules are compiled once, as pip does for a package.
        "PYTHONDONTWRITEBYTECODE=",
    ]
    try:
        return restarts.run("env", *where, sys.executable, "-m", module, *arguments)
    except subprocess.CalledProcessError as error:
        raise MeasureError(f"{module}: {error.stderr[-4000:]}") from error


def _conf(site: Site) -> str:
    return str(site.cloud.layout.etc("nova") / "nova.conf")


def _drivers(site: Site, work: dict[str, Any]) -> dict[str, Any]:
    output = site.cloud.layout.tmp / "measured.json"
    on_host(site, "benchmarks.on_host", _conf(site), str(output), json.dumps(work))
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def guest_xml(sites: Sites, sizes: Sizes) -> Iterator[Series]:
    bounds = {"plain": 1.02, "encrypted": 1.03, "encrypted, with its check": None}
    work = {"sizes": sizes.devices}
    found = _drivers(sites["ours"], dict.fromkeys(bounds, work))
    for case, bound in bounds.items():
        for size, values in found[case]["seconds"].items():
            yield Series(
                "guest XML",
                case,
                int(size),
                "devices",
                "s",
                bound,
                stock=values["stock"],
                ours=values["ours"],
            )
        yield from _counted("guest XML", case, "devices", found[case]["calls"])
        yield from _functions("guest XML", case, "devices", found[case]["functions"])


def start(sites: Sites, sizes: Sizes) -> Iterator[Series]:
    """Of a host with SEV, and of the same without."""
    site = sites["ours"]
    restarts = Restarts(site.cloud)
    for case, sev in (("with SEV", True), ("without SEV", False)):
        with _host(restarts, sev):
            found = _drivers(site, {"start": {"rounds": sizes.starts}})["start"]
        seconds, calls = found["seconds"], found["calls"]
        yield Series(
            "start",
            case,
            1,
            "hosts",
            "s",
            1.05,
            stock=seconds["stock"],
            ours=seconds["ours"],
        )
        yield from _counted("start", case, "hosts", {1: calls}, bound=1.0)


@contextlib.contextmanager
def _host(restarts: Restarts, sev: bool) -> Iterator[None]:
    host: Any = restarts.host
    if sev:
        yield
        return
    host.set(sev=False)
    restarts.restart_libvirtd()
    try:
        yield
    finally:
        host.set(sev=True)
        restarts.restart_libvirtd()


def update(sites: Sites, sizes: Sizes) -> Iterator[Series]:
    work = {"update": {"sizes": sizes.domains}}
    found = _drivers(sites["ours"], work)["update"]
    more = {"tree": 0.001, "encrypted": 0.001}
    names = {
        "tree": "update_provider_tree",
        "encrypted": "update_provider_tree, 100 more encrypted",
        "task": "whole periodic task",
        "encrypted task": "whole periodic task, 100 more encrypted",
    }
    for part, case in names.items():
        for size, result in found[part].items():
            values = result["seconds"]
            bound = None if part in more else 1.02
            one = Series(
                "update",
                case,
                int(size),
                "domains",
                "s",
                bound,
                stock=values["stock"],
                ours=values["ours"],
            )
            yield dataclasses.replace(one, more=more.get(part))
        functions = {size: result["functions"] for size, result in found[part].items()}
        yield from _functions("update", case, "domains", functions)
        calls = {size: result["calls"] for size, result in found[part].items()}
        libvirt = _only(calls, "libvirt")
        yield from _counted("update", case, "domains", libvirt)
        yield from _counted(
            "update", f"{case}, Placement", "domains", _only(calls, "placement")
        )

    for case, unit, values in _placement_load(found["hour"]):
        size = 1000 if unit == "/s" else 1
        yield Series(
            "Placement",
            case,
            size,
            "hosts",
            unit,
            None,
            stock=values["stock"],
            ours=values["ours"],
        )


def _placement_load(hour: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """From the queries counted of one host in a quiet hour."""
    driver = {name: float(count) for name, count in hour["driver"].items()}
    whole = {name: count + hour["nova"] for name, count in driver.items()}
    for case, found in (("of the driver", driver), ("of nova-compute", whole)):
        yield (
            f"queries {case} in a quiet hour, 100 encrypted",
            "calls",
            {name: [count] for name, count in found.items()},
        )
        yield (
            f"queries {case}, 100 encrypted",
            "/s",
            {name: [count * 1000 / 3600] for name, count in found.items()},
        )


def _functions(
    bench: str, case: str, sized: str, counts: dict[Any, dict[str, int]]
) -> Iterator[Series]:
    for size, both in counts.items():
        values = {name: [float(count)] for name, count in both.items()}
        yield Series(
            bench,
            case,
            int(size),
            sized,
            "functions",
            None,
            stock=values["stock"],
            ours=values["ours"],
        )


def _only(calls: dict[Any, Any], kind: str) -> dict[Any, Any]:
    return {
        size: {name: counts[kind] for name, counts in both.items()}
        for size, both in calls.items()
    }


def _counted(
    bench: str,
    case: str,
    sized: str,
    calls: dict[Any, dict[str, Any]],
    bound: float | None = None,
) -> Iterator[Series]:
    """Calls by size and driver: a number, or several by name."""
    for size, both in calls.items():
        counts = {
            name: [float(sum(c.values()) if isinstance(c, dict) else c)]
            for name, c in both.items()
        }
        yield Series(
            bench,
            case,
            int(size),
            sized,
            "calls",
            bound,
            stock=counts["stock"],
            ours=counts["ours"],
        )


def processes(sites: Sites, sizes: Sizes) -> Iterator[Series]:
    site = sites["ours"]

    def run(driver: str) -> dict[str, float]:
        output = on_host(site, "benchmarks.nova_compute", _conf(site), driver)
        found: dict[str, float] = json.loads(output.splitlines()[-1])
        return found

    seen: dict[str, list[dict[str, float]]] = {name: [] for name in DRIVERS}

    def measure(name: str) -> float:
        seen[name].append(run(DRIVERS[name]))
        return 0.0

    work = {name: functools.partial(measure, name) for name in DRIVERS}
    interleave(work, sizes.processes + 1)
    for case, key, unit in (("import", "seconds", "s"), ("memory", "mib", "MiB")):
        # The first of each read the files from the disk.
        values = {name: [one[key] for one in all_[1:]] for name, all_ in seen.items()}
        yield Series(
            "nova-compute",
            case,
            1,
            "hosts",
            unit,
            1.02,
            stock=values["stock"],
            ours=values["ours"],
        )


def candidates(sites: Sites, sizes: Sizes) -> Iterator[Series]:
    found = _drivers(sites["ours"], {"trees": {}})["trees"]
    folder = sites["ours"].cloud.layout.tmp
    for hosts, rounds in sizes.hosts.items():
        with contextlib.ExitStack() as stack:
            services = {
                name: stack.enter_context(_Placement(folder / f"{name}-{hosts}", tree))
                for name, tree in ((n, (t, hosts)) for n, t in found["trees"].items())
            }
            for case, query in found["queries"].items():
                work = {
                    name: functools.partial(service.ask, query)
                    for name, service in services.items()
                }
                interleave(work, 2)
                values = interleave(work, rounds)
                yield Series(
                    "allocation candidates",
                    case,
                    hosts,
                    "hosts",
                    "s",
                    None,
                    stock=values["stock"],
                    ours=values["ours"],
                )


class _Placement:
    """A Placement with one driver's providers, in a process of its own."""

    def __init__(self, database: Path, tree: tuple[list[Any], int]) -> None:
        providers, self._hosts = tree
        database.unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.placement_service"]
        self._process = subprocess.Popen(
            [*command, str(database), json.dumps(providers), str(self._hosts)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> _Placement:
        if self._line() != "ready":
            raise MeasureError("Placement did not start")
        return self

    def __exit__(self, *args: object) -> None:
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, query: str) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(query + "\n")
        self._process.stdin.flush()
        line = self._line()
        if not line:
            raise MeasureError("Placement gave no answer")
        seconds, count = json.loads(line)
        if count != self._hosts:
            raise MeasureError(f"{count} candidates of {self._hosts} hosts")
        return float(seconds)


def creates(sites: Sites, sizes: Sizes) -> Iterator[Series]:
    for kind, rounds in sizes.servers.items():
        for count, times in rounds.items():
            work = {
                name: functools.partial(site.create, kind, count)
                for name, site in sites.items()
            }
            if count == 1:
                interleave(work, 1)  # the image is fetched once
            values = interleave(work, times)
            case = f"{kind}, to ACTIVE"
            yield Series(
                "create",
                case,
                count,
                "at once",
                "s",
                1.05,
                stock=values["stock"],
                ours=values["ours"],
            )


ALL = {
    "xml": guest_xml,
    "start": start,
    "update": update,
    "process": processes,
    "placement": candidates,
    "create": creates,
}
