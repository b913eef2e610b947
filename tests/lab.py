# SPDX-License-Identifier: Apache-2.0
"""A cloud of one host whose hardware, options and domains a test may change."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lxml import etree

from devcloud.config.ini import Sections, merged
from devcloud.restarts import Restarts
from devcloud.simhost.host import SimulatedHost
from devcloud.testing import CloudFixture

PROVIDER = "node1_amd_sev"
#: Consoles on, and all that Nova does periodically done at once.
OPTIONS: Sections = {
    "DEFAULT": {
        "update_resources_interval": 1,
        "resume_guests_state_on_host_boot": "true",
    },
    "libvirt": {"wait_soft_reboot_seconds": 60, "num_memory_encrypted_guests": 4},
    "sev": {"audit_interval": 1, "allocation_check_interval": 5},
    "vnc": {"enabled": "true"},
    "serial_console": {"enabled": "true"},
}
#: As another manager would start it: no firmware of Nova's, no uuid of Nova's.
STRANGER = """
<domain type='kvm'><name>{name}</name><memory unit='MiB'>64</memory>
  <os firmware='efi'>
    <type arch='x86_64' machine='q35'>hvm</type>
    <firmware>
      <feature enabled='no' name='secure-boot'/>
      <feature enabled='no' name='enrolled-keys'/>
    </firmware>
  </os>
  <features><acpi/></features>
  <memoryBacking><locked/></memoryBacking>
  <devices>
    <controller type='usb' model='none'/><memballoon model='none'/>
  </devices>
  <launchSecurity type='sev'>
    <cbitpos>51</cbitpos><reducedPhysBits>1</reducedPhysBits><policy>0x33</policy>
  </launchSecurity>
</domain>"""
Found = TypeVar("Found")


def eventually(what: str, look: Callable[[], Found], timeout: float = 120) -> Found:
    """What the look finds, as soon as that is true."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"not in {timeout:g} s: {what}"
        # A look is often several requests to services that others wait for, too.
        time.sleep(0.25)
    return found


class Lab(CloudFixture):
    """A simulated host also where there is a real one: its SEV comes and goes."""

    def __init__(self, state: Path) -> None:
        displays, serials = ports(6100), ports(11000)
        self._base = merged(
            OPTIONS, {"serial_console": {"port_range": f"{serials[0]}:{serials[-1]}"}}
        )
        self._options = texts(self._base)
        super().__init__(
            state,
            nova=self._options,
            max_asid=15,
            halting_firmware=True,
            remote_display_port_min=displays[0],
            remote_display_port_max=displays[-1],
        )

    def _setUp(self) -> None:
        super()._setUp()
        self.restarts = Restarts(self.cloud)
        self.encrypted_flavor = self.make_flavor("encrypted", hw__mem_encryption="true")
        self.plain_flavor = self.make_flavor("plain")
        self.uefi_image = self.make_image("uefi", hw_firmware_type="uefi")
        self.bios_image = self.make_image("bios")

    @property
    def host(self) -> SimulatedHost:
        host = self.restarts.host
        assert isinstance(host, SimulatedHost)
        return host

    def boot_encrypted(self, name: str = "guest") -> Any:
        return self.boot(name, self.encrypted_flavor, self.uefi_image)

    def boot_plain(self, name: str = "plain") -> Any:
        return self.boot(name, self.plain_flavor, self.bios_image)

    def configure(self, options: Sections | None = None) -> None:
        """Restart Nova with these laid over the lab's, unless it has them now."""
        if texts(self._base, options or {}) != self._options:
            self.restarts.kill_nova()
            self.start_nova(options)

    def start_nova(self, options: Sections | None = None) -> None:
        """Start Nova, of which there is none, with these laid over the lab's."""
        self._options = texts(self._base, options or {})
        self.restarts.start_nova(self._options)

    def set_host(self, **changes: Any) -> None:
        """Change the hardware; libvirt sees it at once, and Nova when it looks."""
        self.host.set(**changes)
        self.restarts.restart_libvirtd()

    def clear(self) -> None:
        for server in list(self.connection.compute.servers()):
            self.delete(server)
        if self.host.settings != self.settings.nodes[0]:
            self.set_host(**vars(self.settings.nodes[0]))
            slots = int(self._options["libvirt"]["num_memory_encrypted_guests"])
            back = {PROVIDER: (slots, 0)}
            eventually("the slots are back", lambda: self.inventory() == back)
            eventually("the host is enabled", self.offers_slots)

    def start_stranger(self, name: str) -> None:
        """Start an encrypted guest of which Nova does not know."""
        file = self.cloud.layout.tmp / f"{name}.xml"
        file.write_text(STRANGER.format(name=name))
        self.virsh("create", "--paused", str(file))

    def state(self, server: Any) -> str:
        """libvirt's word for it: running, shut off."""
        return self.virsh("domstate", server.instance_name).strip()

    def redefine_without_encryption(self, server: Any) -> None:
        """As an operator with `virsh edit` could."""
        name = server.instance_name
        domain = etree.fromstring(self.virsh("dumpxml", "--inactive", name))
        security = domain.find("launchSecurity")
        assert security is not None
        domain.remove(security)
        file = self.cloud.layout.tmp / f"{name}.xml"
        file.write_bytes(etree.tostring(domain))
        self.virsh("define", str(file))


def ports(first: int) -> range:
    """Some of this process' own: between a look at a port and its use another
    cloud on the machine could take it."""
    start = first + os.getpid() % 100 * 40
    return range(start, start + 40)


def texts(*layers: Sections) -> dict[str, dict[str, str]]:
    """The layers as one overlay of nova.conf."""
    sections = merged(*layers)
    return {
        name: {option: str(value) for option, value in options.items()}
        for name, options in sections.items()
    }
