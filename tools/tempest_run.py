# SPDX-License-Identifier: Apache-2.0

"""Run Tempest on a one-machine cloud with two hosts, with plain and encrypted flavors.

``tempest_run.py short`` takes the tests of what a server goes through, ``all`` those of
the whole compute API, and any other word is a regular expression of tests. The first
run has plain flavors and is what the second, with encrypted ones, is compared with.
After each run no server may hold a slot any longer: not in Placement, not in libvirt,
not in the simulated hardware.

The status is 0 if every test ended as tempest_expected.toml says.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import progress
import tempest_results as results
import tempest_venv

from devcloud.config import common, ini
from devcloud.multinode.testing import MultinodeFixture, Slots

BIN = tempest_venv.FOLDER / "bin"
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
#: Tempest's workers, each with a project of its own.
CONCURRENCY = 2
#: Tests resize a server from the first flavor to the second.
SIZES = ({"ram": 256, "disk": 1}, {"ram": 320, "disk": 2})
NOVA = {
    "DEFAULT": {"allow_resize_to_same_host": "true"},
    "quota": {"instances": "50", "cores": "100"},
}
#: What tempest run prints of each test.
_LINE = re.compile(r"\{\d+\} ")


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a run's servers are made of: ids of two flavors and of two images."""

    flavors: Sequence[str]
    images: Sequence[str]


class TempestError(RuntimeError):
    """Tempest was not run to its end; the message says where its log is."""


def main(argv: Sequence[str]) -> int:
    """Run the selection with each kind of flavors; return 0 if all is as expected."""
    options = _parser().parse_args(argv)
    if os.geteuid() != 0:
        print("tempest: a cloud needs root, for namespaces", file=sys.stderr)
        return 2
    # The cloud ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    expected = results.read_expected(results.EXPECTED.read_text())
    folder = Path(tempfile.mkdtemp(prefix="tempest"))
    runs: dict[str, results.Run] = {}
    try:
        with MultinodeFixture(folder / "cloud", nova=NOVA) as cloud:
            images = _make_images(cloud)
            for flavors in options.flavors:
                parts = Parts(_make_flavors(cloud, flavors), images)
                work = folder / flavors
                runs[flavors] = _run(cloud, parts, work, options.tests)
                _release(cloud)
    except BaseException:
        print(f"tempest: the logs are in {folder}", flush=True)
        raise
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
    return parser


def _make_images(cloud: MultinodeFixture) -> list[str]:
    """Make images that each kind of flavor can boot, for the projects of all tests.

    Their guests stay in the firmware's shell: a test wants four lines on the console,
    and a guest that halts writes three.
    """
    properties = {
        "hw_firmware_type": "uefi",
        "hw_machine_type": "q35",
        "hw_disk_bus": "virtio",
        "visibility": "public",
    }
    return [cloud.make_empty_image(f"uefi{number}", **properties) for number in (1, 2)]


def _make_flavors(cloud: MultinodeFixture, kind: str) -> list[str]:
    compute = cloud.connection.compute
    made = [
        compute.create_flavor(name=f"{kind}{number}", vcpus=1, **size)
        for number, size in enumerate(SIZES, 1)
    ]
    if kind == results.ENCRYPTED:
        for flavor in made:
            compute.create_flavor_extra_specs(flavor, {"hw:mem_encryption": "true"})
    return [str(flavor.id) for flavor in made]


def _run(cloud: MultinodeFixture, parts: Parts, work: Path, tests: str) -> results.Run:
    """Run Tempest in the folder ``work`` and read its results.

    :raises TempestError: it was not run to its end.
    """
    progress.say(f"Tempest {tempest_venv.version()} with {work.name} flavors")
    work.mkdir()
    conf = work / "tempest.conf"
    ini.write(conf, configuration(cloud, parts, work))
    selection = work / "selection"
    selection.write_text("".join(f"{x}\n" for x in SELECTIONS.get(tests, (tests,))))
    command = [str(BIN / "tempest"), "run", "--config-file", str(conf)]
    command += ["--include-list", str(selection), "--concurrency", str(CONCURRENCY)]
    start = time.monotonic()
    status = _show(command, work)
    seconds = time.monotonic() - start
    # 1: tests have failed, which the results say.
    if status not in (0, 1):
        raise TempestError(f"tempest run ended with {status}; see {work}/tempest.out")
    last = [str(BIN / "stestr"), "last", "--subunit"]
    stream = subprocess.run(
        last, cwd=work, env=_environment(), stdout=subprocess.PIPE
    ).stdout
    return results.Run.of(results.read_subunit(stream), seconds)


def _show(command: Sequence[str], work: Path) -> int:
    """Run Tempest; print its line of each test, and write all of it to tempest.out.

    It has a session of its own, so that its workers end when this process does.
    """
    with (work / "tempest.out").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=work,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None  # nosec B101  # for mypy
        try:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if _LINE.match(line):
                    print(line, end="", flush=True)
            return process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


def _environment() -> dict[str, str]:
    """Return the environment of Tempest's programs: none of this tree's modules."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**kept, "PATH": f"{BIN}:{kept['PATH']}"}


def configuration(
    cloud: MultinodeFixture, parts: Parts, work: Path
) -> Mapping[str, Mapping[str, Any]]:
    """Return the sections of tempest.conf."""
    settings, ports = cloud.cloud.settings, cloud.cloud.ports
    quick = {"build_interval": 1, "build_timeout": 180}
    return {
        "DEFAULT": {"log_dir": work, "log_file": "tempest.log"},
        "oslo_concurrency": {"lock_path": work / "locks"},
        "auth": {
            "admin_username": "admin",
            "admin_password": settings.password,
            "admin_project_name": "admin",
            "admin_domain_name": "Default",
            "use_dynamic_credentials": True,
            "create_isolated_networks": False,
            "tempest_roles": "member",
        },
        "identity": {
            "uri_v3": ports.url("keystone"),
            "auth_version": "v3",
            "region": common.REGION,
        },
        "service_available": {
            "neutron": False,
            "cinder": False,
            "swift": False,
            "horizon": False,
        },
        # The guests have no network, and nothing to log in to.
        "validation": {"run_validation": False},
        "compute": {
            **quick,
            "flavor_ref": parts.flavors[0],
            "flavor_ref_alt": parts.flavors[1],
            "image_ref": parts.images[0],
            "image_ref_alt": parts.images[1],
            "min_compute_nodes": 2,
            "max_microversion": "latest",
            "ready_wait": 0,
            "shelved_offload_time": 0,
        },
        "image": quick,
        "compute-feature-enabled": {
            "resize": True,
            "cold_migration": True,
            # Encrypted servers cannot be suspended: tempest_expected.toml has the
            # tests that try.
            "suspend": True,
            "rescue": True,
            "stable_rescue": True,
            "shelve": True,
            "shelve_migrate": True,
            "block_migration_for_live_migration": False,
            "interface_attach": False,
            "attach_encrypted_volume": False,
            "metadata_service": False,
            "personality": False,
            "vnc_console": False,
            # q35 has no IDE bus.
            "ide_bus": False,
        },
    }


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
