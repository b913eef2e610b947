# SPDX-License-Identifier: Apache-2.0

"""The flavors and images of a cloud that ask for encryption: could they boot?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sev_driver.doctor.cloud import allocation_candidates, unreadable_models
from sev_driver.doctor.cloud.compatibility import (
    FITTING,
    SILENT,
    FindingBuilder,
    alike,
    asks,
    fitting,
    short,
    spelling,
    violations,
)
from sev_driver.doctor.cloud.facts import Cloud, Flavor, Image, Unavailable, trait
from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.exceptions import printable
from sev_driver.guest import model_selection, near_misses
from sev_driver.guest.model_selection import FLAVOR_KEY, IMAGE_KEY
from sev_driver.guest.request import ImageProperties, is_true, parse_foreign_request
from sev_driver.guest.requirements import GuestRequest
from sev_driver.model import HOST_TRAIT
from sev_driver.nova_release import NovaRelease
from sev_driver.placement.allocations import SLOT

#: As many images that fit are named.
_NAMED = 3

FLAVOR_READS = "the flavors' extra specs, of the compute API"
ROOM_READS = "allocation candidates for the flavor's guests, of Placement"


def check_flavors(cloud: Cloud) -> Iterator[Finding]:
    """Yield what is to be said of the flavors; nothing of those that do not ask."""
    if isinstance(cloud.flavors, Unavailable):
        yield FindingBuilder("flavor", "flavors", FLAVOR_READS).unread(cloud.flavors)
        return
    for flavor in cloud.flavors:
        subject = FindingBuilder("flavor", flavor.name, FLAVOR_READS)
        try:
            yield from _check_flavor(flavor, cloud, subject)
        except ValueError:
            seen = "an amount in its resources keys is no number"
            yield subject.finding("amount", Verdict.FAIL, seen, "write a whole number")


def _check_flavor(
    flavor: Flavor, cloud: Cloud, subject: FindingBuilder
) -> Iterator[Finding]:
    misses = near_misses.of_flavor(f"flavor {flavor.name}", flavor.extra_specs)
    request, found = violations(flavor, FITTING, cloud.nova)
    refused = () if request is None else request.misspelt_models
    yield from spelling((miss for miss in misses if miss not in refused), subject)
    if request is None:
        yield from foreign(flavor, FITTING, cloud, subject) or _flavor_half_asking(
            flavor, subject
        )
        return
    asking = asks(request)
    if found:
        yield from subject.violated(found, asking)
        return
    yield from hints(request, flavor, cloud, subject)
    yield from left_out(flavor, subject)
    lacking = subject.not_offered(request, cloud, asking)
    if lacking:
        yield from lacking
        return
    fits = _fitting_images(flavor, cloud, asking, subject)
    room = cloud.has_room.get(flavor.id, True)
    if fits.verdict is not Verdict.PASS or room is True:
        yield fits
    elif isinstance(room, Unavailable):
        title = f"flavor {flavor.name}"
        yield FindingBuilder("flavor", title, ROOM_READS).unread(room)
    else:
        yield subject.finding(
            "room",
            Verdict.WARN,
            f"{asking}, and no host has room for its guests now",
            f"sev-doctor plan --flavor {printable(flavor.name, 60)} says what each "
            f"host lacks",
        )


def questions(cloud: Cloud) -> dict[str, allocation_candidates.Query]:
    """Return what to ask Placement for, by the id of the flavor whose guests need it.

    Nothing is asked where the answer is known: the flavor asks for no encryption, no
    host would take its guests, or no slot of its model is free.
    """
    if isinstance(cloud.flavors, Unavailable) or isinstance(cloud.slots, Unavailable):
        return {}
    free = {pool.model for pool in cloud.slots.pools if pool.free}
    found = {}
    for flavor in cloud.flavors:
        try:
            request, ruled_out = violations(flavor, FITTING, cloud.nova)
            image = fitting(flavor, cloud.nova)
            query = allocation_candidates.query(flavor, image, cloud.nova)
        except ValueError:
            continue  # check_flavors says so
        if request is not None and not ruled_out and request.model in free:
            found[flavor.id] = query
    return found


def left_out(flavor: Flavor, subject: FindingBuilder) -> Iterator[Finding]:
    """Yield which of a flavor's keys are not checked."""
    keys = allocation_candidates.left_out(flavor)
    if keys:
        seen = f"not checked: what Nova's scheduler does with {' and '.join(keys)}"
        yield subject.finding("left-out", Verdict.SKIP, seen)


def foreign(
    flavor: Flavor, image: ImageProperties, cloud: Cloud, subject: FindingBuilder
) -> list[Finding]:
    """Return a note on a model of another vendor, empty where none is asked for."""
    request = parse_foreign_request(flavor.asked, image, NovaRelease(cloud.nova))
    if request is None:
        return []
    asker = " and ".join(request.requesters)
    if request.conflict is not None:
        seen = f"{asker} asks for {request.model.title}, but {request.conflict}"
        return [subject.finding("foreign", Verdict.FAIL, seen, "make the two agree")]
    seen = (
        f"{asker} asks for {request.model.title}, whose guests Nova itself runs: a "
        f"host without it refuses them, and they are not checked here"
    )
    return [subject.finding("foreign", Verdict.SKIP, seen)]


def _flavor_half_asking(flavor: Flavor, subject: FindingBuilder) -> Iterator[Finding]:
    """Keys that look as if they asked, of a flavor whose guests run in the clear."""
    requests = list(model_selection.flavor_requests(flavor.name, flavor.extra_specs))
    slots = [
        f"{key}={value}"
        for key, value in sorted(flavor.extra_specs.items())
        if key.startswith("resources") and key.endswith(f":{SLOT}") and value != "0"
    ]
    words = [each.setting for each in requests] + slots
    only_traits = all(each.setting.startswith("trait") for each in requests)
    if requests and not slots and only_traits:
        yield subject.finding(
            "half",
            Verdict.WARN,
            f"has {' and '.join(words)}, but takes no slot: from Nova 32 on, no host "
            f"is found for its guests; in older releases they are not encrypted unless "
            f"their image asks for it",
            f"set {FLAVOR_KEY}=true as well, or unset it",
        )
    elif words:
        yield subject.finding(
            "half",
            Verdict.WARN,
            f"has {' and '.join(words)}, but does not ask for encryption: its guests "
            f"are not encrypted unless their image asks for it",
            f"set {FLAVOR_KEY}=true as well, or unset it",
        )


def hints(
    request: GuestRequest, flavor: Flavor, cloud: Cloud, subject: FindingBuilder
) -> Iterator[Finding]:
    """Yield what may go wrong on some hosts."""
    if request.allows_pci_devices and request.passthrough:
        asked = " and ".join(
            f"{each.source} is {each.value}" for each in request.passthrough
        )
        yield subject.finding(
            "pci",
            Verdict.WARN,
            f"asks for PCI devices of the host ({asked}) with {request.model.title}: "
            f"hosts refuse its guests unless [sev] allow_snp_pci_devices is True in "
            f"their nova.conf, which cannot be read from here",
            "set it on the hosts that have the devices, or remove the devices",
        )
    if isinstance(cloud.slots, Unavailable):
        return
    required = allocation_candidates.query(flavor, FITTING, cloud.nova).required()
    named = {request.model.trait, f"CUSTOM_{request.model.trait}"} & required
    without = sorted(cloud.slots.roots() - cloud.slots.roots(request.model))
    if not named and without:
        yield subject.finding(
            "pool",
            Verdict.WARN,
            f"asks for {request.model.title} and for no trait of it: Nova may send its "
            f"guests to hosts that have slots of other models alone and refuse them "
            f"({short(without)})",
            f"set trait:{trait(request.model, cloud.nova)}=required",
        )
    ours_alone = all(
        who.startswith(model_selection.MODEL_KEY) for who in request.requesters
    )
    stock = sorted(cloud.slots.nodes - cloud.slots.marked)
    if ours_alone and stock and HOST_TRAIT not in required:
        yield subject.finding(
            "stock-host",
            Verdict.WARN,
            f"asks by {model_selection.MODEL_KEY} alone, which the driver of Nova "
            f"itself does not know: a host that runs it would start its guests in the "
            f"clear ({short(stock)} may)",
            f"set trait:{HOST_TRAIT}=required",
        )


def _fitting_images(
    flavor: Flavor, cloud: Cloud, asking: str, subject: FindingBuilder
) -> Finding:
    if isinstance(cloud.images, Unavailable) or not cloud.images:
        return subject.finding("fits", Verdict.PASS, f"{asking}; no image was checked")
    nearest: tuple[int, str, str] | None = None
    fitting: list[Image] = []
    for like in alike(cloud.images):
        _, found = violations(flavor, like[0].asked, cloud.nova)
        if not found:
            fitting += like
        elif nearest is None or len(found) < nearest[0]:
            why = " and ".join(violation.found for violation in found)
            remedy = "; ".join(violation.remedy for violation in found)
            nearest = len(found), f"{like[0].asked.title}: {why}", remedy
    count = len(cloud.images)
    if fitting or nearest is None:
        seen = f"{asking}; of {count} images {_named(fitting)}"
        return subject.finding("fits", Verdict.PASS, seen)
    seen = f"{asking}, but of {count} images none fits; the nearest is {nearest[1]}"
    return subject.finding("fits", Verdict.FAIL, seen, nearest[2])


def _named(images: Sequence[Image]) -> str:
    """Return how many images fit, and the names of the first."""
    if not images:
        return "0 fit"
    names = ", ".join(printable(image.name, 40) for image in images[:_NAMED])
    more = ", …" if len(images) > _NAMED else ""
    return f"{len(images)} fit{'s' if len(images) == 1 else ''} ({names}{more})"


IMAGE_READS = "the images' properties, of the image API"


def check_images(cloud: Cloud) -> Iterator[Finding]:
    """Yield what is to be said of the images; nothing of those that do not ask."""
    if isinstance(cloud.images, Unavailable):
        yield FindingBuilder("image", "images", IMAGE_READS).unread(cloud.images)
        return
    for image in cloud.images:
        yield from _check_image(image, cloud)


def _check_image(image: Image, cloud: Cloud) -> Iterator[Finding]:
    subject = FindingBuilder("image", image.name or image.id, IMAGE_READS)
    yield from unreadable_models.check_image(image, cloud, subject)
    misses = near_misses.of_image(image.asked.title, image.properties)
    request, found = violations(SILENT, image.asked, cloud.nova)
    refused = () if request is None else request.misspelt_models
    yield from spelling((miss for miss in misses if miss not in refused), subject)
    if request is None:
        yield from foreign(SILENT, image.asked, cloud, subject) or _image_half_asking(
            image, subject
        )
        return
    asking = asks(request)
    if found:
        yield from subject.violated(found, asking)
        return
    lacking = subject.not_offered(request, cloud, asking)
    yield from lacking or [subject.finding("fits", Verdict.PASS, asking)]


def _image_half_asking(image: Image, subject: FindingBuilder) -> Iterator[Finding]:
    """It looks as if it asked, and its guests run in the clear."""
    named = image.properties.get("hw_mem_encryption_model")
    if named is None or is_true(image.properties.get(IMAGE_KEY)):
        return
    yield subject.finding(
        "half",
        Verdict.WARN,
        f"has hw_mem_encryption_model={named}, but does not ask for encryption: its "
        f"guests run in the clear unless their flavor asks",
        f"set {IMAGE_KEY}=true as well, or unset it",
    )
