# SPDX-License-Identifier: Apache-2.0

"""Runs a program within bounds: of time, of what it prints, and of its rights."""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

from sev_driver.exceptions import DetectionError

#: Where root's programs are, whatever PATH says.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_BYTES = 4 * 1024 * 1024


class Completed(NamedTuple):
    """How a program ended, and what it printed."""

    status: int
    stdout: str
    stderr: str


def run(
    command: Sequence[str],
    seconds: float,
    *,
    input_text: bytes = b"",
    environment: Mapping[str, str] | None = None,
    account: pwd.struct_passwd | None = None,
) -> Completed:
    """Run a program without a terminal.

    :param account: whose rights it gets; this process' own by default.
    :raises DetectionError: it cannot be run, takes longer, or prints more than 4 MiB.
    """
    name = os.path.basename(command[0])
    try:
        process = subprocess.Popen(
            command,
            cwd="/",
            env=None if environment is None else dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # no terminal to type into
            **_rights(account),
        )
    except (OSError, subprocess.SubprocessError) as error:
        as_whom = f" as {account.pw_name}" if account else ""
        why = getattr(error, "strerror", None) or error
        raise DetectionError(f"{command[0]} cannot be run{as_whom}: {why}") from None
    with process:
        try:
            return _completed(process, name, seconds, input_text)
        finally:
            with contextlib.suppress(ProcessLookupError):
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def _rights(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _completed(
    process: subprocess.Popen[bytes], name: str, seconds: float, input_text: bytes
) -> Completed:
    deadline = time.monotonic() + seconds
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    assert stdin is not None  # nosec B101
    assert stdout is not None  # nosec B101
    assert stderr is not None  # nosec B101
    with contextlib.suppress(BrokenPipeError):
        stdin.write(input_text)
        stdin.close()
    texts = _read_all((stdout, stderr), name, deadline, seconds)
    try:
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise DetectionError(_late(name, seconds)) from None
    return Completed(status, *(text.decode("utf-8", "replace") for text in texts))


def _read_all(
    pipes: tuple[IO[bytes], IO[bytes]], name: str, deadline: float, seconds: float
) -> list[bytes]:
    texts = [b"", b""]
    with selectors.DefaultSelector() as selector:
        for number, pipe in enumerate(pipes):
            selector.register(pipe, selectors.EVENT_READ, number)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise DetectionError(_late(name, seconds))
            for key, _ in ready:
                data = os.read(key.fd, 64 * 1024)
                if not data:
                    selector.unregister(key.fileobj)
                texts[key.data] += data
                if len(texts[key.data]) > _BYTES:
                    raise DetectionError(f"{name} printed more than {_BYTES} bytes")
    return texts


def _late(name: str, seconds: float) -> str:
    return f"{name} did not end within {seconds:g} s"
