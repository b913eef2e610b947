# SPDX-License-Identifier: Apache-2.0
"""A libvirtd with folders, sockets and guests of its own."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from devcloud.simhost import libvirt_conf, mounts
from devcloud.simhost.layout import LIBVIRT_FOLDERS, LIBVIRTD, Layout
from devcloud.simhost.settings import HostSettings
from devcloud.simhost.userland import SBIN, Userland, userland


class HostError(RuntimeError):
    """The host cannot be made or started; the message says what is missing."""


class PrivateLibvirt:
    """What a simulated host and a real one have in common.

    Made anew from its settings and state folder, it is the same host, also for a
    process outside its namespaces.
    """

    def __init__(
        self, settings: HostSettings, state_dir: str | os.PathLike[str]
    ) -> None:
        self.settings = settings
        self.layout = Layout(Path(state_dir))
        self._readiness: socket.socket | None = None

    @property
    def uri(self) -> str:
        """libvirt's URI for it, good inside and outside of its namespaces."""
        return f"qemu+unix:///system?socket={quote(str(self.layout.libvirt_socket))}"

    def prepare(self) -> None:
        """Make this process's namespaces the host's. Once, as root.

        The caller has entered a mount and a UTS namespace, and better a PID
        namespace too, whose end is then the host's end.
        """
        mounts.require_private_namespace()
        self._make_files()
        socket.sethostname(self.settings.name)
        mounts.bind(self.layout.hosts, "/etc/hosts")
        for built_in in LIBVIRT_FOLDERS:
            Path(built_in).mkdir(parents=True, exist_ok=True)
            mounts.bind(self.layout.outside(built_in), built_in)
        self._mount_more()
        # A copy of all mounts, so the last one.
        self.userland.mount()
        self._mount_last()

    def _mount_more(self) -> None:
        """What a kind of host has beyond libvirt's folders."""

    def _mount_last(self) -> None:
        """What a kind of host has in place of files of its userland."""

    @cached_property
    def userland(self) -> Userland:
        """Whose programs it runs; not to be changed while it lives."""
        return userland(self.settings.distribution, self.layout.root)

    def libvirtd_command(self) -> tuple[list[str], dict[str, str]]:
        """The command and environment of libvirtd, which stays in the foreground.

        After starting it, wait_ready tells when it is up.
        """
        environment = {
            "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), SBIN]),
            "LANG": "C.UTF-8",
            # No word to the machine's systemd, which would list the guests.
            "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent",
            "NOTIFY_SOCKET": self._listen_for_readiness(),
        }
        command = [LIBVIRTD, "-f", "/etc/libvirt/libvirtd.conf"]
        command += ["-p", "/run/libvirt/libvirtd.pid"]
        return self.userland.command(self._limits() + command), environment

    def _limits(self) -> list[str]:
        """A command to run libvirtd by."""
        return []

    def wait_ready(self, timeout: float = 120) -> None:
        """Until the libvirtd of the last libvirtd_command says that it is up."""
        if self._readiness is None:
            raise HostError("wait_ready: libvirtd_command was not asked for yet.")
        self._readiness.settimeout(timeout)
        try:
            while b"READY=1" not in self._readiness.recv(4096):
                pass
        except TimeoutError:
            raise HostError(
                f"libvirtd of {self.settings.name} was not up in {timeout:g} s: "
                f"see {self.layout.libvirtd_log}."
            ) from None
        finally:
            self._readiness.close()
            self._readiness = None

    def set(self, **changes: Any) -> None:
        """Change settings of the live host.

        Guests that start from now on meet the new host. libvirtd remembers the
        old one: restart it (kill it, start libvirtd_command anew).
        """
        self.settings = self.settings.replace(**changes)
        self._write_settings()

    def forget(self) -> None:
        """Remove the one thing outside the state folder: see Layout.short_link."""
        self.layout.remove_short_link()

    def _make_files(self) -> None:
        layout = self.layout
        layout.state.mkdir(parents=True, exist_ok=True)
        layout.make_short_link()
        # A machine that starts finds nothing there: no process of old is left.
        shutil.rmtree(layout.outside("/run/libvirt"), ignore_errors=True)
        for built_in in LIBVIRT_FOLDERS:
            layout.outside(built_in).mkdir(exist_ok=True)
        _copy(self.userland.program("libvirtd"), layout.outside(LIBVIRTD))
        layout.hosts.write_text(_hosts(self.settings.name))
        self._write_settings()

    def _write_settings(self) -> None:
        layout = self.layout
        write(layout.settings, self.settings.to_json())
        etc = layout.outside("/etc/libvirt")
        write(etc / "qemu.conf", libvirt_conf.qemu_conf(self.settings))
        if not layout.uuid.exists():
            write(layout.uuid, f"{uuid.uuid4()}\n")
        host_uuid = layout.uuid.read_text().strip()
        write(etc / "libvirtd.conf", libvirt_conf.libvirtd_conf(host_uuid))
        # libvirtd would believe it across a restart.
        shutil.rmtree(layout.capability_cache, ignore_errors=True)

    def _listen_for_readiness(self) -> str:
        """Stand in for systemd, whom libvirtd tells that it is up."""
        if self._readiness is not None:
            self._readiness.close()
        self._readiness = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._readiness.bind("")  # the kernel picks a free abstract name
        name: bytes = self._readiness.getsockname()
        return "@" + name[1:].decode()


def _hosts(name: str) -> str:
    machines = Path("/etc/hosts").read_text() if Path("/etc/hosts").exists() else ""
    return f"127.0.0.1 localhost {name}\n{machines}"


def _copy(libvirtd: Path, target: Path) -> None:
    """Another file, since AppArmor knows the original by its path.

    The profile of /usr/sbin/libvirtd forbids to run a QEMU wrapper from elsewhere.
    """
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)  # a running one cannot be written over
    shutil.copy(libvirtd, target)


def write(path: Path, text: str) -> None:
    """At one stroke: readers find the old text or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)
