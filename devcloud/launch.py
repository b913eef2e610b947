# SPDX-License-Identifier: Apache-2.0
"""Starts the cloud's first process in namespaces of its own."""

import os
import shutil
import subprocess
import sys

from devcloud.layout import TREE, Layout
from devcloud.processes import ProcessId, only_child
from devcloud.reports import ReportReader
from devcloud.settings import CloudSettings

NAMESPACES = ("--pid", "--mount", "--uts", "--mount-proc", "--propagation", "private")


class Launch:
    """A cloud's first process, just started, and the reports that it sends."""

    def __init__(self, layout: Layout, *, held: bool, lock: int) -> None:
        read, write = os.pipe()
        command = ["unshare", "--fork", "--kill-child", *NAMESPACES, "--"]
        several = CloudSettings.read(layout.settings).multinode
        module = "devcloud.multinode.init" if several else "devcloud.init"
        command += [sys.executable, "-m", module]
        command += [str(layout.state), str(write)]
        if held:
            # When we die, however, the kernel kills unshare, and with it init.
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        with layout.log("init").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(TREE)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(write, lock),
                # Ctrl-C in the terminal is for us: we end it in good order.
                start_new_session=True,
            )
        os.close(write)
        self.reports = ReportReader(read)

    def init(self) -> ProcessId:
        """The process whose end is the cloud's; it must have reported before."""
        return ProcessId.of(only_child(self.process.pid))


def missing_programs() -> list[str]:
    """What the machine lacks for a cloud; empty when it lacks nothing."""
    programs = ("setpriv", "unshare", "libvirtd", "qemu-img", "qemu-system-x86_64")
    return [name for name in programs if shutil.which(name) is None]
