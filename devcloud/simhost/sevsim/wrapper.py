# SPDX-License-Identifier: Apache-2.0
"""The wrapper's steps: read, refuse or rewrite, leave a proxy, become QEMU."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile

from . import misc_cgroup, refusals, slots
from .answers import Answers
from .command_line import CommandLine
from .platform import Platform
from .proxy import Proxy, detach


def main(platform_file: str, argv: list[str]) -> None:
    platform = Platform.read(platform_file)
    command = CommandLine(argv)
    if command.security is not None and not command.kvm:
        # The real QEMU asserts that somebody encrypted the guest. Let it.
        os.execv(platform.real_qemu, [platform.real_qemu, *command.original])
    _refuse(refusals.refusal(platform, command))
    if command.probe_socket:
        _proxy_probe(platform, command)
    elif command.monitor_fd is not None:
        _proxy_guest(platform, command)
    # Last, so that no process but QEMU has it.
    if command.security is not None:
        pool = slots.pool(command)
        if slots.take(platform.slots, pool, slots.asids(platform, pool)) is None:
            _refuse(refusals.no_slot())
        if platform.control_group:
            misc_cgroup.watch(platform)
    os.execv(platform.real_qemu, [platform.real_qemu, *command.rewritten])


def _refuse(lines: list[str]) -> None:
    if lines:
        sys.exit("\n".join(f"qemu-system-x86_64: {line}" for line in lines))


def _proxy_probe(platform: Platform, command: CommandLine) -> None:
    """libvirt connects to a path once QEMU has gone to the background."""
    assert command.probe_socket is not None  # nosec B101  # for mypy
    listener = _listen(command.probe_socket)
    address = _private_address(platform)
    command.listen_at(address)
    _start_proxy(Answers(platform, command), listener, address)


def _proxy_guest(platform: Platform, command: CommandLine) -> None:
    """libvirt hands over a listening socket: keep it, give QEMU another."""
    assert command.monitor_fd is not None  # nosec B101  # for mypy
    listener = socket.socket(fileno=os.dup(command.monitor_fd))
    address = _private_address(platform)
    qemus = _listen(address)
    os.dup2(qemus.fileno(), command.monitor_fd, inheritable=True)
    _start_proxy(Answers(platform, command), listener, address)


def _listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(1)
    return listener


def _private_address(platform: Platform) -> str:
    os.makedirs(platform.monitors, mode=0o700, exist_ok=True)
    return os.path.join(tempfile.mkdtemp(dir=platform.monitors), "qmp")


def _start_proxy(answers: Answers, listener: socket.socket, address: str) -> None:
    gone, alive = os.pipe()

    def serve() -> None:
        Proxy(answers, listener, address, gone).serve()
        shutil.rmtree(os.path.dirname(address))

    detach({listener.fileno(), gone}, serve)
    os.close(gone)
    os.set_inheritable(alive, True)  # QEMU keeps it open to its end
