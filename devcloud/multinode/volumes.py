# SPDX-License-Identifier: Apache-2.0
"""Cinder's own programs, and what Cinder and Nova take for an NFS.

Both mount a share by mount(8), which runs ``mount.nfs``. Here this is a script of three
lines, since the machine's kernel need not know NFS, and there is no server. Nothing of
Cinder, os-brick or Nova is changed.
"""

import subprocess
import sys
from pathlib import Path

from devcloud.config import cinder
from devcloud.layout import Layout
from devcloud.settings import CloudSettings
from devcloud.simhost import mounts

NAME = "cinder"
#: What the API's process reports once the other programs can be started.
DATABASE = "cinder-database"
PROGRAMS = ("cinder-scheduler", "cinder-volume")
#: mount.nfs SERVER:/FOLDER MOUNTPOINT: the server is this machine.
_BIND = """\
#!/bin/sh
exec mount --bind "${1#*:}" "$2"
"""
#: For a libvirtd in a root of its own, which sees no mount made outside later on.
_LINK = """\
#!/bin/sh
from=${1#*:}
[ "$2" -ef "$from" ] || { rmdir "$2" && ln -s "$from" "$2"; }
"""
_SBIN = Path("/usr/sbin")


def provide_nfs(settings: CloudSettings, layout: Layout) -> None:
    """Put ``mount.nfs`` where mount(8) looks for it, in this mount namespace only."""
    mounts.require_private_namespace()
    apart = any(node.distribution for node in settings.nodes)
    folder = layout.lib(NAME) / "sbin"
    folder.mkdir()
    program = folder / "mount.nfs"
    program.write_text(_LINK if apart else _BIND)
    program.chmod(0o755)
    # A relative lowerdir: in an option, a path with a colon or comma would not do.
    options = f"lowerdir={folder.name}:{_SBIN}"
    command = ["mount", "-t", "overlay", "-o", options, "overlay", str(_SBIN)]
    subprocess.run(command, check=True, cwd=folder.parent)


def command(layout: Layout, program: str) -> list[str]:
    """The command line of one of PROGRAMS."""
    script = Path(sys.executable).with_name(program)
    return [str(script), "--config-file", str(cinder.conf(layout))]
