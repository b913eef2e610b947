# SPDX-License-Identifier: Apache-2.0
"""``python -m devcloud.simhost --state DIR [settings] -- COMMAND…``

Starts a simulated SEV host, runs the command beside its libvirtd, ends all of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from devcloud.simhost.host import SimulatedHost
from devcloud.simhost.mounts import NamespaceError
from devcloud.simhost.private_libvirt import HostError
from devcloud.simhost.settings import HostSettings, SettingsError
from devcloud.simhost.userland import UserlandError

# Everything ends with the process that unshare starts, and that one with unshare,
# and unshare with us: also when we are killed.
_NAMESPACES = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--fork", "--kill-child", "--pid", "--mount-proc"),
    *("--mount", "--uts", "--propagation", "private"),
)
# A libvirtd that fails sooner, in seconds, would do so again. One that was asked to
# end may fail too: it then did not get all its threads to stop.
_SHORTEST_LIFE = 5
_NOTICE = (
    "This SEV host is simulated: guests run under software emulation and "
    "NOTHING IS ENCRYPTED."
)


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        host = SimulatedHost(_settings(arguments), arguments.state)
        if arguments.inside:
            return _Init(host, arguments.command, arguments.libvirtd).run()
    except (SettingsError, HostError, NamespaceError, UserlandError) as error:
        print(f"simhost: {error}", file=sys.stderr)
        return 1
    print(f"simhost: {_NOTICE}", file=sys.stderr)
    try:
        return _run_inside(argv)
    finally:
        host.forget()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devcloud.simhost",
        description="A simulated AMD SEV host, to try libvirt on. " + _NOTICE,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--state", type=Path, required=True, help="its folder")
    parser.add_argument(
        "--libvirtd",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="start libvirtd; without it the host is one where it is down",
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    for field in dataclasses.fields(HostSettings):
        option = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            action = argparse.BooleanOptionalAction
            parser.add_argument(option, action=action, default=field.default)
        else:
            kind = type(field.default)
            parser.add_argument(option, type=kind, default=field.default)
    parser.add_argument("command", nargs="+", help="run beside libvirtd")
    return parser


def _settings(arguments: argparse.Namespace) -> HostSettings:
    names = [field.name for field in dataclasses.fields(HostSettings)]
    return HostSettings(**{name: getattr(arguments, name) for name in names})


def _run_inside(argv: list[str]) -> int:
    """Run ourselves again in namespaces, and end them when we are asked to end."""
    again = [sys.executable, "-m", "devcloud.simhost", "--inside", *argv]
    with subprocess.Popen([*_NAMESPACES, *again]) as unshare:
        # Ctrl-C reaches the command by itself; we wait for what it makes of it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # unshare ignores a gentle word.
        signal.signal(signal.SIGTERM, lambda *_: unshare.kill())
        status = unshare.wait()
    return status if status >= 0 else 128 - status


class _Init:
    """Process 1 of the namespaces: it reaps, and keeps libvirtd running."""

    def __init__(
        self, host: SimulatedHost, command: list[str], with_libvirtd: bool
    ) -> None:
        self.host = host
        self.command = command
        self.with_libvirtd = with_libvirtd
        self.started = 0.0  # libvirtd, for the last time

    def run(self) -> int:
        self.host.prepare()
        libvirtd = self._start_libvirtd() if self.with_libvirtd else None
        environment = {**os.environ, "LIBVIRT_DEFAULT_URI": self.host.uri}
        command = subprocess.Popen(self.command, env=environment).pid
        while True:
            pid, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            if pid == command:
                return code if code >= 0 else 128 - code
            if pid != libvirtd:
                continue  # a guest, or another orphan
            if code > 0 and time.monotonic() - self.started < _SHORTEST_LIFE:
                raise HostError(
                    f"libvirtd failed: see {self.host.layout.libvirtd_log}."
                )
            # Somebody ended it. Settings changed in the meantime take effect.
            libvirtd = self._start_libvirtd()
            print("simhost: libvirtd was started again", file=sys.stderr)

    def _start_libvirtd(self) -> int:
        self.host.settings = HostSettings.from_json(
            self.host.layout.settings.read_text()
        )
        self.started = time.monotonic()
        command, environment = self.host.libvirtd_command()
        pid = subprocess.Popen(command, env=environment, start_new_session=True).pid
        self.host.wait_ready()
        return pid


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
