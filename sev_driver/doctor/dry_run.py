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

"""Would a guest of this flavor and this image boot, and where, and as what?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from sev_driver import asked
from sev_driver.doctor import candidates, flavors
from sev_driver.doctor.cloud_facts import Cloud, Flavor, Unread
from sev_driver.doctor.domain_sketch import Sketch, draw
from sev_driver.doctor.finding import Finding, Verdict, exit_status
from sev_driver.doctor.pairing import fitting, violations
from sev_driver.doctor.places import Place, Question, judge
from sev_driver.doctor.subject import Subject, short
from sev_driver.requirements import GuestRequest

READS = "the flavor's extra specs and the image's properties"
HOSTS = "allocation candidates, of Placement"


@dataclasses.dataclass(frozen=True)
class Answers:
    """Placement's, to what Nova would ask, and to what has a free slot."""

    candidates: Mapping[str, Any]
    free: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What would become of a guest; ``request`` is None where nothing asks."""

    flavor: Flavor
    image: asked.Image
    nova: int
    request: GuestRequest | None
    findings: tuple[Finding, ...]
    places: tuple[Place, ...] = ()
    sketch: Sketch | None = None

    @property
    def exit_status(self) -> int:
        return exit_status(self.findings)


def run(
    flavor: Flavor,
    image: asked.Image | None,
    cloud: Cloud,
    answers: Answers | Unread,
) -> DryRun:
    """Judge a guest that is to be.

    :param image: None where none was named: then one that fits is taken for granted.
    :param answers: Placement's; Unread: where it was not asked, and why.
    """
    subject = Subject("plan", "guest", READS)
    picture = image or fitting(flavor, cloud.nova)
    try:
        request, found = violations(flavor, picture, cloud.nova)
    except ValueError:
        seen = "an amount in the flavor's resources keys is no number"
        told = subject.finding("amount", Verdict.FAIL, seen, "write a whole number")
        return DryRun(flavor, picture, cloud.nova, None, (told,))
    findings = list(_asked(subject, request, picture, image is None))
    if request is None:
        return DryRun(flavor, picture, cloud.nova, None, tuple(findings))
    findings += subject.violated(found)
    findings += flavors.hints(request, flavor, cloud, subject) if not found else ()
    left_out = candidates.left_out(flavor)
    if left_out:
        seen = f"not looked at: what Nova's scheduler makes of {' and '.join(left_out)}"
        findings.append(subject.finding("left-out", Verdict.SKIP, seen))
    places: tuple[Place, ...] = ()
    if not found:
        places, finding = _hosts(flavor, picture, request, cloud, answers)
        findings.append(finding)
    sketch = None if found else draw(flavor, picture, request.model, cloud.nova)
    return DryRun(flavor, picture, cloud.nova, request, tuple(findings), places, sketch)


def _asked(
    subject: Subject, request: GuestRequest | None, image: asked.Image, taken: bool
) -> Iterator[Finding]:
    if request is None:
        seen = "neither the flavor nor the image asks for encryption by AMD SEV"
        remedy = f"set {asked.FLAVOR_KEY}=true on the flavor"
        yield subject.finding("asks", Verdict.FAIL, seen, remedy)
        return
    seen = f"{' and '.join(request.requesters)} asks for {request.model.title}"
    yield subject.finding("asks", Verdict.PASS, seen)
    if taken:
        given = " and ".join(f"{k}={v}" for k, v in image.properties.items())
        seen = f"no image was named: one with {given} is taken for granted"
        yield subject.finding("image", Verdict.SKIP, seen)


def _hosts(
    flavor: Flavor,
    image: asked.Image,
    request: GuestRequest,
    cloud: Cloud,
    answers: Answers | Unread,
) -> tuple[tuple[Place, ...], Finding]:
    subject = Subject("plan", "hosts", HOSTS)
    if isinstance(answers, Unread):
        return (), subject.unread(answers)
    if isinstance(cloud.slots, Unread):
        return (), subject.unread(cloud.slots)
    query = candidates.query(flavor, image, cloud.nova)
    question = Question(request, query, answers.candidates, answers.free)
    places = tuple(judge(question, cloud.slots, cloud.computes))
    taking = [place.host for place in places if place.takes]
    if taking:
        seen = f"{len(taking)} of {len(places)} would take it: {short(taking)}"
        return places, subject.finding("hosts", Verdict.PASS, seen)
    first = f", {places[0].host} since {places[0].why}" if len(places) == 1 else ""
    seen = f"none of {len(places)} would take it{first}"
    remedy = "free there what is lacking, add hosts that have it, or ask for less"
    return places, subject.finding("hosts", Verdict.FAIL, seen, remedy)
