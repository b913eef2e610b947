# SPDX-License-Identifier: Apache-2.0

"""What the Linux guest says on its console: reads the lines of ``root/etc/report``."""

from __future__ import annotations

import dataclasses
import re

READY = "ready"
#: Of the first line after each start.
LINUX = "Linux "
# Something else may stand before it: the shell's prompt, or the firmware's colours.
_LINE = re.compile(r"guest: (.*)")
_VIRTIO = re.compile(
    r"(?:added )?(virtio\d+) (\S+) driver=(\S+) version_1=([01]) access_platform=([01])"
)


@dataclasses.dataclass(frozen=True)
class VirtioDevice:
    """A virtio device as the guest's kernel has it."""

    #: "virtio0": the kernel counts them as it finds them.
    name: str
    #: "block", "net" ...
    kind: str
    #: None where none wants it.
    driver: str | None
    #: Whether the device and the driver agreed on VIRTIO_F_VERSION_1.
    has_version_1: bool
    #: The same for VIRTIO_F_ACCESS_PLATFORM: the guest's memory reaches the device
    #: through the platform, which encryption needs. It is libvirt's iommu='on'.
    has_access_platform: bool


def lines(log: str) -> list[str]:
    """Return what the guest has said since its last start.

    :param log: the console's log, which goes on when a guest starts again
    """
    said: list[str] = []
    for line in _LINE.findall(log.replace("\r", "")):
        if line.startswith(LINUX):
            said.clear()
        said.append(line)
    return said


def virtio_devices(lines: list[str]) -> list[VirtioDevice]:
    """Return the devices of these lines, those that came later included."""
    return [
        VirtioDevice(
            found[1],
            found[2],
            None if found[3] == "none" else found[3],
            has_version_1=found[4] == "1",
            has_access_platform=found[5] == "1",
        )
        for line in lines
        if (found := _VIRTIO.fullmatch(line))
    ]
