# SPDX-License-Identifier: Apache-2.0

"""The ``openstack`` command of shells, without an interpreter's start for each.

Importing the client takes two seconds of a core, most commands a tenth of it. A
process imports it once, and forks for each command: the program that shells find sends
it the command's arguments, environment, folder and files.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn, Self

PROGRAM = """\
#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    command = [sys.argv[1:], dict(os.environ), os.getcwd()]
    socket.send_fds(server, [json.dumps(command).encode()], [0, 1, 2])
    server.shutdown(socket.SHUT_WR)
    status = server.recv(1)
# Nothing comes from a command that was killed.
sys.exit(status[0] if status else 1)
"""


class OpenstackForks:
    """A process that has imported the client, for as long as this lasts."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            # Short: the name of a socket has 107 characters at most.
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            self._path = f"{folder}/openstack"
            command = [sys.executable, __file__, self._path]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write_program(self, file: Path) -> None:
        """Write what a shell finds on its PATH."""
        file.write_text(PROGRAM.format(python=sys.executable, path=self._path))
        file.chmod(0o755)


def serve(path: str) -> NoReturn:
    """Fork for each command, for ever."""
    import openstackclient.shell  # noqa: F401

    # Nobody waits for the forks.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> NoReturn:
    """Be the command that the connection tells of; say how it ended."""
    from cliff.app import App
    from openstackclient import shell

    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        text, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
        while more := connection.recv(1 << 16):
            text += more
        arguments, environment, folder = json.loads(text)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        sys.stdin = os.fdopen(0)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        # Else it takes the name of the program that has imported it.
        App.NAME = "openstack"
        sys.argv = ["openstack", *arguments]
        status = int(shell.main(arguments))
    except SystemExit as end:  # --help, --version and errors of usage
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        connection.send(bytes([status & 0xFF]))
        os._exit(status & 0xFF)


if __name__ == "__main__":
    serve(sys.argv[1])
