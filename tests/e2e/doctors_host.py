# SPDX-License-Identifier: Apache-2.0
"""A host for the doctor: the real libvirtd, a nova.conf, no other OpenStack.

Its breaks are real as far as they can be: what is not the simulated hardware's is
done in the host's own namespaces, by commands. So is what the doctor advises.
"""

import json
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lab import STRANGER

REPOSITORY = Path(__file__).parents[2]

#: As README.rst has it, for the two slots of this host: 4096 and 2 x 256.
NOVA_CONF = """\
[DEFAULT]
compute_driver = sev_driver.SEVDriver
ram_allocation_ratio = 1.0
reserved_host_memory_mb = 4608
[libvirt]
virt_type = kvm
"""
#: What systemd does where there is one. A libvirtd that was running is started
#: again by the host itself.
_SYSTEMCTL = """\
#!{python}
import os, pathlib, signal, subprocess, sys, time
sys.path.insert(0, {repository!r})
from devcloud.simhost.host import SimulatedHost
from devcloud.simhost.settings import HostSettings

verb, unit = sys.argv[1:]
assert unit == "libvirtd", unit
state = pathlib.Path({state!r})
settings = HostSettings.from_json((state / "settings.json").read_text())
host = SimulatedHost(settings, state)
if verb == "start":
    command, environment = host.libvirtd_command()
    log = open(state / "started.log", "wb")
    subprocess.Popen(
        command, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    host.wait_ready()
else:
    assert verb == "restart", verb
    pidfile = pathlib.Path("/run/libvirt/libvirtd.pid")
    old = pidfile.read_text()
    os.kill(int(old), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while pidfile.read_text() in ("", old) or subprocess.run(
        ["virsh", "--connect", host.uri, "uri"], capture_output=True
    ).returncode:
        assert time.monotonic() < deadline, "libvirtd is not back"
        time.sleep(0.05)
"""


class Told(NamedTuple):
    """What the doctor said: its exit status and its JSON."""

    status: int
    json: dict[str, Any]

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [each for each in self.json["findings"] if each["verdict"] == "fail"]


class DoctorsHost:
    """:param state: its folder; what it keeps there survives a reboot."""

    def __init__(self, state: Path, *options: str) -> None:
        self._state = state
        self._folder = state.parent
        self._saved = self._folder / "saved.json.gz"
        self.nova_conf = self._folder / "nova.conf"
        if not self.nova_conf.exists():
            self.nova_conf.write_text(NOVA_CONF)
        command = [sys.executable, "-m", "devcloud.simhost", "--state", str(state)]
        self._log = (self._folder / "simhost.log").open("ab")
        self._process = subprocess.Popen(
            # A shell that ends when we close its input.
            [*command, *options, "--", "sh"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.run("true")
        self._systemctl = self._folder / "bin" / "systemctl"
        self._systemctl.parent.mkdir(exist_ok=True)
        self._systemctl.write_text(
            _SYSTEMCTL.format(
                python=sys.executable, repository=str(REPOSITORY), state=str(state)
            )
        )
        self._systemctl.chmod(0o755)

    def run(self, command: str, check: bool = True) -> tuple[int, str]:
        """Exit status and output of a command in the host's namespaces."""
        output = self._folder / "output"
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        redirected = f"( {command} ) > {shlex.quote(str(output))} 2>&1 < /dev/null"
        path = f'PATH="{self._folder}/bin:$PATH"'
        stdin.write(f"({path}; {redirected}); echo $?\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer, (self._folder / "simhost.log").read_text()
        said = output.read_text()
        assert not check or answer == "0\n", f"{command}: {said}"
        return int(answer), said

    def write(self, path: str, text: str) -> None:
        """Write a file where the host sees it."""
        file = self._folder / "written"
        file.write_text(text)
        self.run(f"cp {shlex.quote(str(file))} {shlex.quote(path)}")

    def ask_doctor(self, generation: str) -> Told:
        """As a program would; what was read is kept for text_of_the_same."""
        words = [
            "--nova-conf",
            str(self.nova_conf),
            "--save",
            str(self._saved),
            "--json",
        ]
        status, said = self._doctor(generation, *words)
        assert status in (0, 1), said
        return Told(status, json.loads(said))

    def text_of_the_same(self, generation: str) -> str:
        """What the doctor tells people of what it has read before."""
        return self._doctor(generation, "--from", str(self._saved))[1]

    def _doctor(self, generation: str, *options: str) -> tuple[int, str]:
        words = [sys.executable, "-m", "sev_driver.cmd.doctor", *options]
        words += ["--model", generation, "--guest-memory", "256"]
        return self.run(f"{shlex.join(words)} 2>&-", check=False)

    def start_guest(self, name: str, novas: bool = False) -> str:
        """Start an encrypted guest; its uuid."""
        own = str(uuid.uuid4())
        file = self._folder / f"{name}.xml"
        more = f"</name><uuid>{own}</uuid>{_NOVAS if novas else ''}"
        file.write_text(STRANGER.format(name=name).replace("</name>", more, 1))
        self.run(f"virsh create --paused {shlex.quote(str(file))}")
        return own

    def end(self) -> None:
        self._process.communicate(timeout=30)
        self._log.close()
        assert self._process.returncode == 0


_NOVAS = """
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:name>server</nova:name>
    </nova:instance>
  </metadata>"""


@contextmanager
def doctors_host(folder: Path, *options: str) -> Iterator[DoctorsHost]:
    host = DoctorsHost(folder / "host", *options)
    try:
        yield host
    finally:
        host.end()


class Advice:
    """What a remedy says, done as it is written."""

    def __init__(self, host: DoctorsHost, remedy: str) -> None:
        self._host = host
        self._remedy = remedy

    def follow(self) -> list[str]:
        """What was done of it; nothing where it is no more than words."""
        return [*self._options(), *self._commands()]

    def _options(self) -> Iterator[str]:
        pattern = r"set \[(\w+)\] (\w+) = (\S+) in (\S+?)[,;]"
        for section, name, value, path in re.findall(pattern, self._remedy):
            text = Path(path).read_text()
            # As one edits a file: the line that is there is changed, or one is added.
            line, old = f"{name} = {value}\n", rf"^{name}\s*=.*\n"
            if re.search(old, text, re.MULTILINE):
                text = re.sub(old, line, text, flags=re.MULTILINE)
            else:
                text = text.replace(f"[{section}]\n", f"[{section}]\n{line}")
            Path(path).write_text(text)
            yield line.strip()

    def _commands(self) -> Iterator[str]:
        patterns = (
            r"mount -o remount,[\w,]+ /dev/sev",
            r"rm -r /var/cache/libvirt/qemu/capabilities",
            r"virsh destroy \S+(?=;|,|$)",
            r"systemctl (?:start|restart) libvirtd",
        )
        for command in re.findall("|".join(patterns), self._remedy):
            self._host.run(command)
            yield command
