#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""A small cloud as values, for the tests of what the doctor makes of one."""

from __future__ import annotations

from typing import Any

from sev_driver.doctor.cloud_facts import (
    Cloud,
    Compute,
    Flavor,
    Image,
    Pool,
    Slots,
    Unread,
)

ON = {"hw:mem_encryption": "true"}
UEFI = {"hw_firmware_type": "uefi"}
REFUSED = Unread("HTTP 403", refused=True)
BROKEN = Unread("no answer")

NODE1 = Compute("node1", True, True, nodes=("node1",))
SEV = Pool("node1_amd_sev", "node1", total=15, reserved=1, used=2)
ES = Pool("node1_amd_sev_es", "node1", total=5, reserved=0, used=5)
NODES = frozenset({"node1"})
SLOTS = Slots((SEV, ES), NODES, marked=NODES)


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
