# SPDX-License-Identifier: Apache-2.0

"""Run Tempest on a one-machine cloud with two hosts, with plain and encrypted flavors.

``tempest_run.py short`` takes the tests of what a server goes through, ``all`` those of
the whole compute API, and any other word is a regular expression of tests. In a cloud
with volumes, ``short`` also takes the tests that need volumes. The first run has plain
flavors and is what the second, with encrypted ones, is compared with. After each run
no server may hold a slot any longer: not in Placement, not in libvirt, not in the
simulated hardware.

The status is 0 if every test ended as tempest_expected.toml says.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import progress
import tempest_conf
import tempest_program
import tempest_results as results
import tempest_venv
from tempest_program import TempestError

from devcloud import linux_guest
from devcloud.multinode.testing import MultinodeFixture, Slots
from devcloud.settings import DRIVER

#: compute_driver by the names that DRIVER of make tempest takes.
DRIVERS = {"ours": DRIVER, "stock": "libvirt.LibvirtDriver"}
#: Regular expressions of tests, by the name of the selection.
SELECTIONS = {
    "short": (
        r"tempest\.api\.compute\.admin\.test_migrations",
        r"tempest\.api\.compute\.(admin|servers)\.test_delete_server",
        r"tempest\.api\.compute\.servers\.test_server_rescue",
        r"tempest\.api\.compute\.servers\.test_server_actions",
    ),
    "all": (r"tempest\.api\.compute\.",),
}
#: Classes that a cloud without volumes skips, and that "short" does not name.
VOLUMES = (
    r"tempest\.api\.compute\.volumes\.",
    r"tempest\.api\.compute\.admin\.test_volume",
    r"tempest\.api\.compute\.images\.test_images\.",
    r"tempest\.api\.compute\.servers\.test_create_server\..*Volume",
    r"tempest\.api\.compute\.servers\.test_servers_negative.*volume",
)
WORKERS = 2
NOVA = {
    "DEFAULT": {"allow_resize_to_same_host": "true"},
    # Else a q35 guest has one port left for devices that come later.
    "libvirt": {"num_pcie_ports": "12"},
    "quota": {"instances": "50", "cores": "100"},
}


def main(argv: Sequence[str]) -> int:
    """Run the selection with each kind of flavors; return 0 if all is as expected."""
    options = _parser().parse_args(argv)
    if os.geteuid() != 0:
        print("tempest: a cloud needs root, for namespaces", file=sys.stderr)
        return 2
    if linux_guest.disk() is None:
        print(f"tempest: its guests need a Linux: {linux_guest.reason()}")
        return 2
    # The cloud ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = Path(tempfile.mkdtemp(prefix="tempest"))
    runs: dict[str, results.Run] = {}
    try:
        with _cloud(options, folder / "cloud") as cloud:
            # Its guest lets go of a disk, and ends when it is asked to.
            images = tempest_conf.make_images(cloud.make_linux_image)
            networks = tempest_conf.make_networks(cloud) if options.network else None
            for kind in options.flavors:
                flavors = tempest_conf.make_flavors(cloud, kind)
                parts = tempest_conf.Parts(flavors, images, networks)
                runs[kind] = _run(cloud, parts, folder / kind, _selection(options))
                _release(cloud)
            services = cloud.settings.optional_services
    except BaseException:
        print(f"tempest: the logs are in {folder}", flush=True)
        raise
    listed = results.read_expected(results.EXPECTED.read_text())
    expected = [entry for entry in listed if entry.is_of(services)]
    wrong = results.complaints(runs, expected, whole=options.tests == "all")
    _report(runs, expected, wrong)
    if wrong:
        print(f"tempest: the logs are in {folder}", flush=True)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tempest_run.py", description=__doc__)
    parser.add_argument(
        "tests", nargs="?", default="short", help="short, all or a regular expression"
    )
    parser.add_argument(
        "--flavors",
        nargs="+",
        choices=results.FLAVORS,
        default=list(results.FLAVORS),
        help="with which to run; both by default",
    )
    parser.add_argument(
        "--driver", choices=DRIVERS, default="ours", help="ours by default"
    )
    parser.add_argument(
        "--distribution",
        metavar="CODENAME",
        default="",
        help="whose libvirt and QEMU to run: trixie takes make setup-trixie "
        "(default: this machine's)",
    )
    parser.add_argument(
        "--volumes",
        choices=("", "cinder"),
        default="",
        help="a service for volumes (default: none)",
    )
    parser.add_argument(
        "--network",
        choices=("", "neutron"),
        default="",
        help="a service for networks (default: a stand-in)",
    )
    return parser


def _cloud(options: argparse.Namespace, state: Path) -> MultinodeFixture:
    return MultinodeFixture(
        state,
        nova=NOVA,
        driver=DRIVERS[options.driver],
        volumes=options.volumes,
        network=options.network,
        distribution=options.distribution,
    )


def _selection(options: argparse.Namespace) -> Sequence[str]:
    tests = SELECTIONS.get(options.tests, (options.tests,))
    wants_volumes = options.volumes and options.tests == "short"
    return (*tests, *VOLUMES) if wants_volumes else tests


def _run(
    cloud: MultinodeFixture, parts: tempest_conf.Parts, work: Path, tests: Sequence[str]
) -> results.Run:
    progress.say(f"Tempest {tempest_venv.version()} with {work.name} flavors")
    return tempest_program.run(cloud, parts, work, tests, WORKERS)


def _release(cloud: MultinodeFixture) -> None:
    """Delete the servers that Tempest has left, and check that no slot is used.

    :raises TempestError: a slot is used with no server left.
    """
    compute = cloud.connection.compute
    left = list(compute.servers(all_projects=True))
    for server in left:
        progress.say(f"Tempest has left the server {server.name}, {server.status}")
        cloud.delete(server)
    try:
        cloud.check_slots(dict.fromkeys(cloud.hosts, Slots.all(0)))
    except AssertionError as error:
        raise TempestError(f"a slot is lost: {error}") from error
    progress.say("no slot is used: Placement, libvirt and the hardware agree")


def _report(
    runs: Mapping[str, results.Run],
    expected: Sequence[results.Expected],
    wrong: Sequence[str],
) -> None:
    """Print the table, the expected failures, and what is not as expected."""
    print("\n".join(results.table(runs)))
    for line in results.differences(runs, expected):
        print(f"expected: {line}")
    for line in wrong:
        print(f"WRONG: {line}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except TempestError as error:
        sys.exit(f"tempest: WRONG: {error}")
