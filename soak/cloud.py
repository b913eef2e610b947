# SPDX-License-Identifier: Apache-2.0
"""The cloud that is soaked: two hosts, and a flavor and an image for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devcloud.multinode.testing import MultinodeFixture
from devcloud.simhost import userland
from devcloud.testing import CloudFixture
from soak.tables import MODELS, PLAIN

DISTRIBUTION = "trixie"
#: ASIDs 4 to 7 are of plain SEV, and of 1 to 3 SEV-ES gets one: so few that they
#: are often out.
HOST: Mapping[str, Any] = {
    "min_asid": 4,
    "max_asid": 7,
    "sev_es": True,
    "sev_snp": True,
    "misc_cgroup": True,
    "distribution": DISTRIBUTION,
    # Nothing looks into the guests.
    "halting_firmware": True,
}
TOTALS = {"sev": 4, "es": 1, "snp": 2}
#: In a folder of libvirt's, so that each host has its own.
METRICS = "/run/libvirt/sev.prom"
NOVA = {
    # Each second, what is once a minute: an update, and the audit on it. In ten, what
    # is once in ten minutes.
    "DEFAULT": {"update_resources_interval": "1"},
    "sev": {
        "num_sev_es_guests": str(TOTALS["es"]),
        "audit_interval": "1",
        "allocation_check_interval": "10",
        "prometheus_textfile": METRICS,
    },
    "quota": dict.fromkeys(("instances", "cores", "ram"), "-1"),
}


class SoakError(RuntimeError):
    """Something is wrong; the message says what, in plain words."""


def require_userland() -> None:
    """:raises SoakError: the hosts' libvirt and QEMU are not here."""
    if not userland.is_here(DISTRIBUTION):
        raise SoakError(f"Debian 13 is not unpacked: make setup-{DISTRIBUTION}")


class SoakCloud(MultinodeFixture):
    """:param state: its state folder."""

    def __init__(self, state: Path) -> None:
        super().__init__(state, nova=NOVA, **HOST)

    def _setUp(self) -> None:
        super()._setUp()
        self.parts = parts(self)


def parts(cloud: CloudFixture) -> dict[str, tuple[str, str]]:
    """The flavor and the image of each kind of server."""
    uefi = cloud.make_image("uefi", hw_firmware_type="uefi")
    stateless = cloud.make_image(
        "stateless", hw_firmware_type="uefi", hw_firmware_stateless="true"
    )
    images = {"sev": uefi, "es": uefi, "snp": stateless}
    asks = {"hw__mem_encryption": "true"}
    made = {
        kind: (
            cloud.make_flavor(kind, hw__mem_encryption_model=MODELS[kind], **asks),
            image,
        )
        for kind, image in images.items()
    }
    return {**made, PLAIN: (cloud.make_flavor(PLAIN), cloud.make_image("bios"))}
