# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch from unpacked Debian packages, private to a cloud.

``tools/open_vswitch.py`` unpacks them below ``.venv``, with the libraries that they
need. So the same programs run on each Debian and Ubuntu, and nothing is installed. All
that they write goes to one folder.
"""

import subprocess
from pathlib import Path

from devcloud.layout import TREE

FOLDER = TREE / ".venv" / "open-vswitch"
ROOT = FOLDER / "root"
#: Why there is none, where there is none.
REASON = FOLDER / "ready"
SERVER = "ovsdb-server"
SWITCH = "ovs-vswitchd"
#: The programs, by their paths in the packages.
PROGRAMS = {
    SERVER: "usr/sbin/ovsdb-server",
    SWITCH: "usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk",
    "ovsdb-tool": "usr/bin/ovsdb-tool",
    "ovsdb-client": "usr/bin/ovsdb-client",
    "ovs-vsctl": "usr/bin/ovs-vsctl",
    "ovs-ofctl": "usr/bin/ovs-ofctl",
    "ovs-appctl": "usr/bin/ovs-appctl",
}
#: It runs a program with the libraries of LIBRARY_PATH, also where they are newer than
#: the machine's.
LOADER = ROOT / "usr/lib64/ld-linux-x86-64.so.2"
LIBRARIES = ROOT / "usr/lib/x86_64-linux-gnu"
LIBRARY_PATH = {"LD_LIBRARY_PATH": str(LIBRARIES)}
#: Of DPDK's environment: without huge pages and network cards, and with so many MiB of
#: memory, which it takes at once.
_DPDK = (
    "--no-huge --legacy-mem --no-pci --iova-mode=va -m 512 "
    f"-d {LIBRARIES / 'librte_mempool_ring.so.25'}"
)
#: Microseconds that a thread may sleep which finds no packets. Else it would take a
#: whole processor.
_LONGEST_SLEEP = 500
#: Where Neutron and os-vif look for the database of a switch.
PORT = 6640
#: Seconds, on a busy machine.
_TIMEOUT = 60
#: Where the programs keep their files, instead of in the system's folders.
_VARIABLES = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
#: What they have to say goes to the cloud's logs.
_LOGGING = ["-vconsole:info", "-vsyslog:off"]


def is_here() -> bool:
    """Return whether it is unpacked."""
    return (ROOT / PROGRAMS[SWITCH]).exists()


def reason() -> str:
    """Return why it is not."""
    told = REASON.read_text() if REASON.exists() else ""
    return told or "Open vSwitch is not unpacked: make setup-network"


class OpenVSwitch:
    """The switch of one cloud.

    :param folder: of its files
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: For PATH: scripts that run the programs for this switch.
        self.bin = folder / "bin"

    def create(self) -> None:
        """Write the scripts, and an empty database.

        :raises FileNotFoundError: Open vSwitch is not unpacked; the message says why.
        """
        if not is_here():
            raise FileNotFoundError(reason())
        self.bin.mkdir(parents=True)
        for name, path in PROGRAMS.items():
            script = self.bin / name
            script.write_text(self._script(ROOT / path))
            script.chmod(0o755)
        schema = ROOT / "usr/share/openvswitch/vswitch.ovsschema"
        self.run("ovsdb-tool", "create", str(self._database), str(schema))

    def server_command(self) -> list[str]:
        """The command line of the database's server."""
        remotes = [f"--remote=ptcp:{PORT}:127.0.0.1", f"--remote=p{self._socket}"]
        return [str(self.bin / SERVER), *_LOGGING, str(self._database), *remotes]

    def switch_command(self) -> list[str]:
        """The command line of the switch itself."""
        return [str(self.bin / SWITCH), *_LOGGING, self._socket]

    def await_server(self) -> None:
        """Return when the database's server answers."""
        self.vsctl("--no-wait", "--retry", "init")

    def use_dpdk(self, *, iommu: bool) -> None:
        """Have the switch use DPDK, from its next start on.

        :param iommu: whether it offers the IOMMU to vhost-user ports
        """
        options = {
            "dpdk-init": "true",
            "dpdk-extra": f'"{_DPDK}"',
            # One for all ports is too large for that memory.
            "per-port-memory": "true",
            "pmd-sleep-max": _LONGEST_SLEEP,
            "vhost-iommu-support": str(iommu).lower(),
        }
        words = [f"other_config:{name}={value}" for name, value in options.items()]
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", *words)

    def vsctl(self, *command: str) -> str:
        """Run ovs-vsctl(8), which waits until the switch has done what it says."""
        return self.run("ovs-vsctl", f"--timeout={_TIMEOUT}", *command)

    def run(self, program: str, *arguments: str) -> str:
        """Return what one of PROGRAMS prints."""
        return subprocess.run(
            [str(self.bin / program), *arguments],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    @property
    def _database(self) -> Path:
        return self.folder / "conf.db"

    @property
    def _socket(self) -> str:
        return f"unix:{self.folder / 'db.sock'}"

    def _script(self, program: Path) -> str:
        # Neutron compares a command line with what it has started: it allows for one
        # word before the program. So the loader gets no options.
        variables = {**dict.fromkeys(_VARIABLES, self.folder), **LIBRARY_PATH}
        lines = [f"export {name}='{value}'" for name, value in variables.items()]
        return "\n".join(
            ["#!/bin/sh", *lines, f"exec '{LOADER}' '{program}' \"$@\"", ""]
        )
