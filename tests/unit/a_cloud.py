# SPDX-License-Identifier: Apache-2.0

"""A small cloud as values, for the tests of what the doctor makes of one."""

from __future__ import annotations

from typing import Any

from sev_driver.doctor.cloud.facts import (
    Cloud,
    CloudSlots,
    Compute,
    Flavor,
    Image,
    Pool,
    Unavailable,
)

ON = {"hw:mem_encryption": "true"}
UEFI = {"hw_firmware_type": "uefi"}
REFUSED = Unavailable("HTTP 403", refused=True)
BROKEN = Unavailable("no answer")

NODE1 = Compute("node1", True, True, nodes=("node1",))
SEV = Pool("node1_amd_sev", "node1", total=15, reserved=1, used=2)
ES = Pool("node1_amd_sev_es", "node1", total=5, reserved=0, used=5)
NODES = frozenset({"node1"})
SLOTS = CloudSlots((SEV, ES), NODES, marked=NODES)


def flavor(specs: dict[str, str], name: str = "m1.sev") -> Flavor:
    return Flavor("1", name, 2, 512, 1, specs)


def image(properties: dict[str, str], name: str = "debian") -> Image:
    return Image("2", name, properties)


def cloud(**parts: Any) -> Cloud:
    """A cloud in which all is well, less what is given."""
    given: dict[str, Any] = {
        "nova": 34,
        "flavors": (flavor(ON),),
        "images": (image(UEFI), image({}, "old")),
        "computes": (NODE1,),
        "slots": SLOTS,
    }
    return Cloud(**given | parts)
