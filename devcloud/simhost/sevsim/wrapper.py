# SPDX-License-Identifier: Apache-2.0
"""The wrapper's steps: read, refuse or rewrite, leave a proxy, become QEMU."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable

from . import launch, misc_cgroup, refusals, slots
from .answers import Answers
from .command_line import CommandLine
from .platform import Platform
from .proxy import Proxy, detach

_PROGRAM = "qemu-system-x86_64"


def main(platform_file: str, argv: list[str]) -> None:
    platform = Platform.read(platform_file)
    command = CommandLine(argv)
    if command.security is not None and not command.kvm:
        # The real QEMU asserts that somebody encrypted the guest. Let it.
        os.execv(platform.real_qemu, [platform.real_qemu, *command.original])
    if platform.other_firmware and command.snp:
        command.replace_firmware(platform.other_firmware)
    _refuse(refusals.refusal(platform, command))
    launched = _launch(platform, command)
    if command.probe_socket:
        _proxy_probe(platform, command)
    elif command.monitor_fd is not None:
        _proxy_guest(platform, command, launched)
    elif launched is not None:
        _refuse(_words(launched))
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
        sys.exit("\n".join(f"{_PROGRAM}: {line}" for line in lines))


def _proxy_probe(platform: Platform, command: CommandLine) -> None:
    """libvirt connects to a path once QEMU has gone to the background."""
    assert command.probe_socket is not None  # nosec B101  # for mypy
    listener = _listen(command.probe_socket)
    address = _private_address(platform)
    command.listen_at(address)
    _start_proxy(Answers(platform, command), listener, address)


def _launch(platform: Platform, command: CommandLine) -> int | None:
    """Have a guest measured while QEMU starts; a pipe on which the words come.

    Without the library that measures, or without an identity, nothing is kept of it.
    """
    if not (command.snp and command.uuid and platform.launches):
        return None
    folder, uuid = platform.launches, command.uuid
    launch.open_record(folder, uuid)
    answer, verdict = os.pipe()

    def finish() -> None:
        words = ""
        try:
            launch.write_record(folder, uuid, launch.finish(command))
        except launch.Refused as refused:
            words = str(refused)
        except Exception as error:
            words = f"simulated secure processor: {type(error).__name__}: {error}"
        os.write(verdict, words.encode())

    detach({verdict}, finish)
    os.close(verdict)
    return answer


def _words(answer: int) -> list[str]:
    """Wait for the end of a launch; what QEMU would print, empty if all is well."""
    with os.fdopen(answer, "rb") as pipe:
        text = pipe.read().decode()
    return [text] if text else []


def _end_if_refused(answer: int, qemus_errors: int) -> Callable[[], None]:
    """What the real QEMU does at its first ``cont``: it ends if the launch fails."""
    qemu = os.getpid()

    def end() -> None:
        for line in _words(answer):
            os.write(qemus_errors, f"{_PROGRAM}: {line}\n".encode())
            os.kill(qemu, signal.SIGKILL)

    return end


def _proxy_guest(
    platform: Platform, command: CommandLine, launched: int | None
) -> None:
    """libvirt hands over a listening socket: keep it, give QEMU another."""
    assert command.monitor_fd is not None  # nosec B101  # for mypy
    listener = socket.socket(fileno=os.dup(command.monitor_fd))
    address = _private_address(platform)
    qemus = _listen(address)
    os.dup2(qemus.fileno(), command.monitor_fd, inheritable=True)
    answers = Answers(platform, command)
    if launched is None:
        _start_proxy(answers, listener, address)
        return
    errors = os.dup(2)
    answers.at_first_cont = _end_if_refused(launched, errors)
    _start_proxy(answers, listener, address, launched, errors)
    os.close(launched)
    os.close(errors)


def _listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(1)
    return listener


def _private_address(platform: Platform) -> str:
    os.makedirs(platform.monitors, mode=0o700, exist_ok=True)
    return os.path.join(tempfile.mkdtemp(dir=platform.monitors), "qmp")


def _start_proxy(
    answers: Answers, listener: socket.socket, address: str, *more: int
) -> None:
    gone, alive = os.pipe()

    def serve() -> None:
        Proxy(answers, listener, address, gone).serve()
        shutil.rmtree(os.path.dirname(address))

    detach({listener.fileno(), gone, *more}, serve)
    os.close(gone)
    os.set_inheritable(alive, True)  # QEMU keeps it open to its end
