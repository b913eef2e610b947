# SPDX-License-Identifier: Apache-2.0

"""A flavor with an image: what they ask for, and what rules it out on any host."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from sev_driver.doctor.cloud import allocation_candidates
from sev_driver.doctor.cloud.facts import Cloud, Flavor, Image, Unavailable, trait
from sev_driver.doctor.findings import Check, Finding, Verdict
from sev_driver.exceptions import Requirement, Violation
from sev_driver.guest import requirements
from sev_driver.guest.near_misses import NearMiss
from sev_driver.guest.request import ImageProperties, parse_request
from sev_driver.guest.requirements import GuestRequest
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.model import MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease
from sev_driver.placement import allocations
from sev_driver.placement.allocations import SLOT

#: An image that leaves nothing to be wished for, and a flavor that asks for nothing.
FITTING = ImageProperties(
    "any image", {"hw_firmware_type": "uefi", "hw_firmware_stateless": "true"}
)
_FITTING_WITH_VARIABLES = ImageProperties("any image", {"hw_firmware_type": "uefi"})
SILENT = Flavor("", "that asks for nothing", 1, 1, 0, {})

_SNP = MemoryEncryptionModel.AMD_SEV_SNP
_IMAGE_MODEL = "hw_mem_encryption_model"
_HOST_UNKNOWN = HostCapabilities(())

#: What of an image decides whether it fits.
_DECIDES = ("hw_", "trait", "vmware_adaptertype")


def violations(
    flavor: Flavor, image: ImageProperties, nova: int
) -> tuple[GuestRequest | None, tuple[Violation, ...]]:
    """Return what both ask for, and what rules it out.

    The driver's own verdict at a guest's start, on all but its host and its ports; and
    what of it a release's API refuses, so that the driver never hears of it.

    :raises ValueError: an amount in the flavor is no number.
    """
    request = parse_request(flavor.asked, image, NovaRelease(nova))
    if request is None:
        return None, ()
    if request.model is _SNP:
        # An option of each compute host decides, which cannot be read here.
        request = dataclasses.replace(request, allows_pci_devices=True)
    found = requirements.check_request(request, _HOST_UNKNOWN)
    found += requirements.check_spelling(request)
    found += _forbidden_trait(request, flavor, nova)
    by_image = image.properties.get(_IMAGE_MODEL) == _SNP.value
    if by_image and not NovaRelease(nova).accepts_image_model(_SNP):
        asking = requirements.UnmetRequirement(
            Requirement.AGREEMENT,
            f"the API of Nova {nova} refuses {_IMAGE_MODEL}={_SNP.value} of an image",
            "unset it, and ask by sev:model on the flavor",
        )
        found += (asking.attributed_to(request),)
    if SLOT not in allocation_candidates.query(flavor, image, nova).resources():
        # As nova-compute will find, whatever the host.
        found += tuple(
            dataclasses.replace(violation, found="nothing asks Placement for a slot")
            for violation in allocations.check_allocation(
                request, {"host": {"resources": {}}}, str
            )
        )
    return request, found


def _forbidden_trait(
    request: GuestRequest, flavor: Flavor, nova: int
) -> tuple[Violation, ...]:
    """Return why Placement finds no slot: the flavor forbids what each of them has."""
    name = trait(request.model, nova)
    return tuple(
        requirements.UnmetRequirement(
            Requirement.AGREEMENT,
            f"flavor {flavor.name} has {key}=forbidden, and every slot of "
            f"{request.model.title} has this trait",
            "unset it",
        ).attributed_to(request)
        for key, value in sorted(flavor.extra_specs.items())
        if value == "forbidden"
        and key.startswith("trait")
        and key.partition(":")[2] == name
    )


def spelling(misses: Iterable[NearMiss], subject: FindingBuilder) -> Iterator[Finding]:
    """Yield a warning of each key that is misspelt, and so asks for nothing."""
    for miss in misses:
        yield subject.finding("spelling", Verdict.WARN, miss.found, miss.remedy)


def fitting(flavor: Flavor, nova: int) -> ImageProperties:
    """Return an image that has what the flavor's guests need, and no more."""
    request = parse_request(flavor.asked, FITTING, NovaRelease(nova))
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


@dataclasses.dataclass(frozen=True)
class FindingBuilder:
    """``kind`` is the category of its checks, ``reads`` where its facts come from."""

    kind: str
    name: str
    reads: str

    def finding(
        self, check: str, verdict: Verdict, seen: str, remedy: str = ""
    ) -> Finding:
        title = self.name if self.kind == "plan" else f"{self.kind} {self.name}"
        about = Check(f"{self.kind}.{check}", title, self.reads)
        return Finding(about, verdict, seen, remedy)

    def violated(self, found: Sequence[Violation], asking: str = "") -> list[Finding]:
        """Return a FAIL for each violation; ``asking`` says who asks for what."""
        but = f"{asking}, but " if asking else ""
        return [
            self.finding(v.requirement.value, Verdict.FAIL, but + v.found, v.remedy)
            for v in found
        ]

    def not_offered(
        self, request: GuestRequest, cloud: Cloud, asking: str
    ) -> list[Finding]:
        """Return a FAIL where it is known that no host has the model."""
        slots = cloud.slots
        if isinstance(slots, Unavailable) or request.model in slots.offered():
            return []
        seen = f"{asking}, and no host offers a slot of it"
        remedy = "run sev-doctor on the hosts that should offer it"
        return [self.finding("offered", Verdict.FAIL, seen, remedy)]

    def unread(self, why: Unavailable) -> Finding:
        """Return SKIP where the credentials do not suffice, FAIL where it failed."""
        about = Check(f"{self.kind}.read", self.name, self.reads)
        if why.refused:
            return Finding(about, Verdict.SKIP, why.reason)
        return Finding(about, Verdict.FAIL, why.reason, why.remedy)


def short(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many more there are."""
    asking = ", ".join(names[:most])
    return asking if len(names) <= most else f"{asking} and {len(names) - most} more"
