# SPDX-License-Identifier: Apache-2.0
"""What ``make demo`` and its siblings do to the machine, however they end."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud import linux_guest
from devcloud.layout import TREE
from devcloud.simhost import userland
from devcloud.testing import CloudFixture

DEVCLOUD = [sys.executable, "-m", "devcloud", "--state"]
#: The demo is well under way: the cloud is up, and a guest is being built.
IN_THE_MIDDLE = "$ openstack server create"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    devcloud(tmp_path / "state", "down")


def devcloud(state: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEVCLOUD, state, *command], cwd=TREE, capture_output=True, text=True
    )


def start_demo(state: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DEVCLOUD, state, "demo"],
        cwd=TREE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A process group of its own, as a shell gives each of its jobs; and a
        # Ctrl-C that counts, also where the tests run in a shell's background.
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def read_until(demo: subprocess.Popen[str], text: str) -> None:
    assert demo.stdout
    said = []
    for line in demo.stdout:
        said.append(line)
        if text in line:
            return
    pytest.fail(f"the demo ended before it said {text!r}:\n{''.join(said)}")


def traces(state: Path) -> list[str]:
    """Whatever on this machine still belongs to the cloud."""
    name = os.fsencode(state)
    found = [line for line in _lines("/proc/mounts") if name in line]
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            found += [line for line in _lines(process / "cmdline") if name in line]
            found += [line for line in _lines(process / "mounts") if name in line]
    return [trace.decode(errors="replace") for trace in found]


def _lines(path: str | Path) -> list[bytes]:
    try:
        return Path(path).read_bytes().splitlines()
    except OSError:
        return []


# The shared cloud runs meanwhile: two clouds on one machine do not meet.
def test_demo_shows_it_all_and_leaves_nothing(cloud: CloudFixture, state: Path) -> None:
    before = cloud.cloud.running

    result = devcloud(state, "demo")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "NOTHING IS ENCRYPTED" in result.stdout
    if linux_guest.disk():
        assert "=> its kernel has agreed on access_platform for: block" in result.stdout
    assert traces(state) == []
    assert cloud.cloud.running == before
    assert cloud.connection.compute.get("/os-hypervisors").ok


def test_demo_of_all_generations(state: Path) -> None:
    if not userland.is_here("trixie"):
        pytest.skip("Debian 13 is not unpacked: make setup-trixie")
    makefile = (TREE / "Makefile").read_text().replace("\\\n", "")
    (split,) = re.findall(r"filter split,\$\(HOST\)\),(.*)\)$", makefile, re.MULTILINE)

    result = devcloud(state, "demo", *split.split())

    assert result.returncode == 0, result.stdout + result.stderr
    assert "=> launchSecurity is of type sev-snp" in result.stdout
    assert "=> of its slots 1 reserved" in result.stdout
    assert "=> omne-attest accepts the report" in result.stdout
    assert "=> omne-attest refuses it to an owner who" in result.stdout
    assert traces(state) == []


def test_a_demo_that_fails_says_where_and_leaves_nothing(state: Path) -> None:
    result = devcloud(state, "demo", "--no-sev")

    assert result.returncode == 1
    assert "error: step 1. The host as the driver sees it: not so: " in result.stderr
    assert f"All logs: {state / 'demo' / 'logs'}" in result.stderr
    assert traces(state) == []


def test_ctrl_c_leaves_nothing(state: Path) -> None:
    demo = start_demo(state)
    read_until(demo, IN_THE_MIDDLE)
    assert traces(state), "this test looks in the wrong places"

    os.killpg(demo.pid, signal.SIGINT)

    assert demo.wait(30) == 130
    assert traces(state) == []


def test_kill_9_leaves_nothing_after_cloud_down(state: Path) -> None:
    demo = start_demo(state)
    read_until(demo, IN_THE_MIDDLE)

    demo.kill()
    demo.wait()
    down = devcloud(state, "down")

    assert down.returncode == 0, down.stderr
    assert traces(state) == []


def test_up_status_down_can_each_be_said_twice(state: Path) -> None:
    assert devcloud(state, "down").returncode == 0
    assert "No cloud is running" in devcloud(state, "status").stdout
    first, second = devcloud(state, "up"), devcloud(state, "up")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "is running since" in second.stdout
    told = devcloud(state, "status").stdout
    assert "slots in use: 0 sev" in told
    assert str(state / "logs") in told
    assert (state / "openrc").exists()

    assert "stopped" in devcloud(state, "down").stdout
    assert "No cloud is running" in devcloud(state, "down").stdout
    assert traces(state) == []
