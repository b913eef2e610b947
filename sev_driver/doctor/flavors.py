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

"""Flavors that ask for encryption: could any guest of them boot?"""

from __future__ import annotations

from collections.abc import Iterator

from sev_driver import asked, selection, traits
from sev_driver.doctor import candidates
from sev_driver.doctor.cloud_facts import Cloud, Flavor, Unread, trait
from sev_driver.doctor.finding import Finding, Verdict
from sev_driver.doctor.pairing import FITTING, alike, asks, violations
from sev_driver.doctor.subject import Subject, short
from sev_driver.requirements import GuestRequest
from sev_driver.reshape import SLOT

READS = "the flavors' extra specs, of the compute API"


def check(cloud: Cloud) -> Iterator[Finding]:
    """Yield what is to be said of the flavors; nothing of those that do not ask."""
    if isinstance(cloud.flavors, Unread):
        yield Subject("flavor", "flavors", READS).unread(cloud.flavors)
        return
    for flavor in cloud.flavors:
        subject = Subject("flavor", flavor.name, READS)
        try:
            yield from _judge(flavor, cloud, subject)
        except ValueError:
            seen = "an amount in its resources keys is no number"
            yield subject.finding("amount", Verdict.FAIL, seen, "write a whole number")


def _judge(flavor: Flavor, cloud: Cloud, subject: Subject) -> Iterator[Finding]:
    request, found = violations(flavor, FITTING, cloud.nova)
    if request is None:
        yield from _half_asking(flavor, subject)
        return
    told = asks(request)
    if found:
        yield from subject.violated(found, told)
        return
    yield from hints(request, flavor, cloud, subject)
    lacking = subject.not_offered(request, cloud, told)
    yield from lacking or [_fitting_images(flavor, cloud, told, subject)]


def _half_asking(flavor: Flavor, subject: Subject) -> Iterator[Finding]:
    """Keys that look as if they asked, of a flavor whose guests run in the clear."""
    voices = list(selection.flavor_asks(flavor.name, flavor.extra_specs))
    if not all(voice.model for voice in voices):
        return  # another vendor's, and Nova's matter
    words = [voice.words for voice in voices]
    words += [
        f"{key}={value}"
        for key, value in sorted(flavor.extra_specs.items())
        if key.startswith("resources") and key.endswith(f":{SLOT}") and value != "0"
    ]
    if words:
        yield subject.finding(
            "half",
            Verdict.WARN,
            f"has {' and '.join(words)}, but does not ask for encryption: its guests "
            f"run in the clear unless their image asks",
            f"set {asked.FLAVOR_KEY}=true as well, or unset it",
        )


def hints(
    request: GuestRequest, flavor: Flavor, cloud: Cloud, subject: Subject
) -> Iterator[Finding]:
    """Yield what may go wrong on some hosts."""
    if isinstance(cloud.slots, Unread):
        return
    required = candidates.query(flavor, FITTING, cloud.nova).required()
    named = {request.model.trait, f"CUSTOM_{request.model.trait}"} & required
    if not named and len(cloud.slots.offered()) > 1:
        yield subject.finding(
            "pool",
            Verdict.WARN,
            f"asks for {request.model.title} and for no trait of it: Placement may "
            f"give its guests a slot of another generation, and no host starts them so",
            f"set trait:{trait(request.model, cloud.nova)}=required",
        )
    ours_alone = all(who.startswith(selection.MODEL_KEY) for who in request.requesters)
    stock = sorted(cloud.slots.nodes - cloud.slots.marked)
    if ours_alone and stock and traits.HOST not in required:
        yield subject.finding(
            "stock-host",
            Verdict.WARN,
            f"asks by {selection.MODEL_KEY} alone, which the driver of Nova itself "
            f"does not know: a host that runs it would start its guests in the clear "
            f"({short(stock)} may)",
            f"set trait:{traits.HOST}=required",
        )


def _fitting_images(
    flavor: Flavor, cloud: Cloud, told: str, subject: Subject
) -> Finding:
    if isinstance(cloud.images, Unread) or not cloud.images:
        return subject.finding("fits", Verdict.PASS, f"{told}; no image was looked at")
    nearest: tuple[int, str, str] | None = None
    fitting = 0
    for like in alike(cloud.images):
        _, found = violations(flavor, like[0].asked, cloud.nova)
        if not found:
            fitting += len(like)
        elif nearest is None or len(found) < nearest[0]:
            why = " and ".join(violation.found for violation in found)
            remedy = "; ".join(violation.remedy for violation in found)
            nearest = len(found), f"{like[0].asked.title}: {why}", remedy
    count = len(cloud.images)
    if fitting or nearest is None:
        seen = f"{told}; of {count} images {fitting} fit{'s' if fitting == 1 else ''}"
        return subject.finding("fits", Verdict.PASS, seen)
    seen = f"{told}, but of {count} images none fits; the nearest is {nearest[1]}"
    return subject.finding("fits", Verdict.FAIL, seen, nearest[2])
