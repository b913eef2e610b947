# SPDX-License-Identifier: Apache-2.0

"""Install Debian packages without starting their services. Runs as root.

Installing libvirt-daemon-system starts libvirtd, unless /usr/sbin/policy-rc.d
says no. This puts such a file there for as long as apt runs. Where there is
one already, that one decides.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import progress

POLICY = Path("/usr/sbin/policy-rc.d")
MARK = "# Put here by sev_driver's tools/apt_install.py while apt runs."
LOCK = Path("/run/lock/sev_driver-apt.lock")
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "-y")
# "Get:7 http://deb.debian.org/debian trixie/main amd64 gcc amd64 4:14.2.0-1"
FETCHED = r"Get:\d+ \S+ \S+ \S+ ([A-Za-z][^\s:]*)"
SET_UP = r"Setting up ([^\s:]+)"


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for another clone that is here too: the policy file is shared."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("waiting for another clone to finish with apt")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def services_kept_off() -> Iterator[None]:
    """Deny every start of a service while apt runs."""
    left_by_a_killed_run = POLICY.exists() and MARK in POLICY.read_text()
    if POLICY.exists() and not left_by_a_killed_run:
        yield
        return
    POLICY.write_text(f"#!/bin/sh\n{MARK}\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def missing(packages: Sequence[str]) -> list[str]:
    """Return those packages that dpkg does not have installed."""

    def installed(package: str) -> bool:
        query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
        answer = subprocess.run(query, capture_output=True, text=True)
        return answer.returncode == 0 and answer.stdout == "installed"

    return [package for package in packages if not installed(package)]


def install(packages: Sequence[str], log: Path) -> None:
    """Fetch and install packages; fetch the lists only when apt needs them."""
    env = dict(
        os.environ,
        DEBIAN_FRONTEND="noninteractive",
        NEEDRESTART_SUSPEND="1",
        PATH=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin",
    )
    command = [*APT, "install", "--no-install-recommends", *packages]
    fetch = [*command, "--download-only"]
    if not fetched(fetch, log, env):
        progress.say("fetching the package lists")
        progress.run([*APT, "update"], log, FETCHED, env)
        progress.say("fetching packages")
        progress.run(fetch, log, FETCHED, env)
    progress.say("installing packages")
    progress.run(command, log, SET_UP, env)


def fetched(fetch: Sequence[str], log: Path, env: dict[str, str]) -> bool:
    """Try with the package lists that are there: none, or old ones, may fail."""
    simulated = subprocess.run([*fetch, "--simulate"], capture_output=True, env=env)
    if simulated.returncode:
        return False
    progress.say("fetching packages")
    try:
        progress.run(fetch, log, FETCHED, env)
    except subprocess.CalledProcessError:
        progress.say("the package lists are too old")
        return False
    return True


def main(arguments: Sequence[str]) -> int:
    """Install the packages named after the log file."""
    log, packages = Path(arguments[0]), arguments[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with one_at_a_time():
        if wanted := missing(packages):
            with services_kept_off():
                install(wanted, log)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"apt-get failed with status {error.returncode}")
