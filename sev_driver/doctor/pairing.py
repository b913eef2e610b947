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

"""A flavor with an image: what they ask for, and what rules it out on any host."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sev_driver import asked, pools, requirements
from sev_driver.capabilities import HostCapabilities
from sev_driver.doctor import candidates
from sev_driver.doctor.cloud_facts import Flavor, Image, release
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import Finding, GuestRequest, Requirement, Violation
from sev_driver.reshape import SLOT

#: An image that leaves nothing to be wished for, and a flavor that asks for nothing.
FITTING = asked.Image(
    "any image", {"hw_firmware_type": "uefi", "hw_firmware_stateless": "true"}
)
_FITTING_WITH_VARIABLES = asked.Image("any image", {"hw_firmware_type": "uefi"})
SILENT = Flavor("", "that asks for nothing", 1, 1, 0, {})

_SNP = MemoryEncryptionModel.AMD_SEV_SNP
_IMAGE_MODEL = "hw_mem_encryption_model"
_HOST_UNKNOWN = HostCapabilities(())

#: What of an image decides whether it fits.
_DECIDES = ("hw_", "trait", "vmware_adaptertype")


def violations(
    flavor: Flavor, image: asked.Image, nova: int
) -> tuple[GuestRequest | None, tuple[Violation, ...]]:
    """Return what both ask for, and what rules it out.

    The driver's own verdict at a guest's start, on all but its host and its ports; and
    what of it a release's API refuses, so that the driver never hears of it.

    :raises ValueError: an amount in the flavor is no number.
    """
    request = asked.request(flavor.asked, image, release(nova))
    if request is None:
        return None, ()
    found = requirements.check(request, _HOST_UNKNOWN)
    if nova in (32, 33) and image.properties.get(_IMAGE_MODEL) == _SNP.value:
        told = Finding(
            Requirement.AGREEMENT,
            f"the API of Nova {nova} refuses {_IMAGE_MODEL}={_SNP.value} of an image",
            "unset it, and ask by sev:model on the flavor",
        )
        found += (told.by(request),)
    if SLOT not in candidates.query(flavor, image, nova).resources():
        # As nova-compute will find, whatever the host.
        found += tuple(
            dataclasses.replace(violation, found="nothing asks Placement for a slot")
            for violation in pools.check(request, {"host": {"resources": {}}}, str)
        )
    return request, found


def fitting(flavor: Flavor, nova: int) -> asked.Image:
    """Return an image that has what the flavor's guests need, and no more."""
    request = asked.request(flavor.asked, FITTING, release(nova))
    if request is not None and request.model is _SNP:
        return FITTING
    return _FITTING_WITH_VARIABLES


def asks(request: GuestRequest) -> str:
    """Return what is asked for by which keys, without whose they are."""
    keys = " and ".join(who.split(" of ", 1)[0] for who in request.requesters)
    return f"asks for {request.model.title} by {keys}"


def alike(images: Sequence[Image]) -> list[list[Image]]:
    """Return the images in groups that differ in nothing that matters here.

    A cloud has thousands of images, and hundreds of flavors to hold against each.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Image]] = {}
    for image in images:
        key = tuple(
            sorted(p for p in image.properties.items() if p[0].startswith(_DECIDES))
        )
        groups.setdefault(key, []).append(image)
    return list(groups.values())
