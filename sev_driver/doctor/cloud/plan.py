# SPDX-License-Identifier: Apache-2.0

"""Would a guest of this flavor and this image boot, and where, and as what?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from sev_driver.doctor.cloud import allocation_candidates as candidates
from sev_driver.doctor.cloud import catalog, owner_inputs
from sev_driver.doctor.cloud.allocation_candidates import Query
from sev_driver.doctor.cloud.compatibility import (
    FindingBuilder,
    fitting,
    short,
    spelling,
    violations,
)
from sev_driver.doctor.cloud.domain_preview import Sketch, draw
from sev_driver.doctor.cloud.facts import (
    Cloud,
    CloudSlots,
    Compute,
    Flavor,
    Unavailable,
)
from sev_driver.doctor.cloud.owner_inputs import NOTHING, ServerParts
from sev_driver.doctor.findings import Finding, Verdict, exit_status
from sev_driver.guest.model_selection import FLAVOR_KEY
from sev_driver.guest.request import (
    ImageProperties,
    misspelt_keys,
    parse_foreign_request,
)
from sev_driver.guest.requirements import GuestRequest
from sev_driver.model import AnyModel
from sev_driver.nova_release import NovaRelease
from sev_driver.placement import allocations as pools
from sev_driver.placement.allocations import SLOT

READS = "the flavor's extra specs and the image's properties"
HOSTS = "allocation candidates, of Placement"


@dataclasses.dataclass(frozen=True)
class PlacementAnswers:
    """Placement's, to what Nova would ask, and to what has a free slot."""

    candidates: Mapping[str, Any]
    free: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What would become of a guest; ``request`` is None where nothing asks."""

    flavor: Flavor
    image: ImageProperties
    nova: int
    request: GuestRequest | None
    findings: tuple[Finding, ...]
    places: tuple[HostVerdict, ...] = ()
    sketch: Sketch | None = None

    @property
    def exit_status(self) -> int:
        """0 if the guest would boot encrypted by AMD SEV, as far as was checked."""
        return 1 if self.request is None else exit_status(self.findings)

    @property
    def is_foreign(self) -> bool:
        """True if it asks for a model of another vendor, which was not checked."""
        return any(each.check.id == "plan.foreign" for each in self.findings)


def run(
    flavor: Flavor,
    image: ImageProperties | None,
    cloud: Cloud,
    answers: PlacementAnswers | Unavailable,
    server: ServerParts = NOTHING,
) -> DryRun:
    """Judge a guest that is to be.

    :param image: None where none was named: then one that fits is taken for granted.
    :param answers: Placement's; Unread: where it was not asked, and why.
    :param server: what the server has besides flavor and image.
    """
    subject = FindingBuilder("plan", "guest", READS)
    picture = image or fitting(flavor, cloud.nova)
    try:
        request, found = violations(flavor, picture, cloud.nova)
    except ValueError:
        seen = "an amount in the flavor's resources keys is no number"
        message = subject.finding("amount", Verdict.FAIL, seen, "write a whole number")
        return DryRun(flavor, picture, cloud.nova, None, (message,))
    misses = misspelt_keys(flavor.asked, picture)
    refused = () if request is None else request.misspelt_models
    findings = list(spelling((m for m in misses if m not in refused), subject))
    foreign = catalog.foreign(flavor, picture, cloud, subject) if not request else []
    findings += foreign or _asked(subject, request, picture, image is None)
    inputs = owner_inputs.parse(flavor, picture, server)
    model = _model(request, flavor, picture, cloud.nova)
    findings += owner_inputs.check(inputs, model, subject)
    if request is None:
        return DryRun(flavor, picture, cloud.nova, None, tuple(findings))
    findings += subject.violated(found)
    findings += catalog.hints(request, flavor, cloud, subject) if not found else ()
    findings += catalog.left_out(flavor, subject)
    places: tuple[HostVerdict, ...] = ()
    if not found:
        required = candidates.query(flavor, picture, cloud.nova).required()
        findings += owner_inputs.check_required_firmware(required, cloud.slots, subject)
        places, finding = _hosts(flavor, picture, request, cloud, answers)
        findings.append(finding)
    shown = owner_inputs.taken(inputs, model)
    sketch = None if found else draw(flavor, picture, request, cloud.nova, shown)
    return DryRun(flavor, picture, cloud.nova, request, tuple(findings), places, sketch)


def _model(
    request: GuestRequest | None, flavor: Flavor, image: ImageProperties, nova: int
) -> AnyModel | None:
    """Return the model that would encrypt the guest, of any vendor; None: none."""
    if request is not None:
        return request.model
    other = parse_foreign_request(flavor.asked, image, NovaRelease(nova))
    return None if other is None else other.model


def _asked(
    subject: FindingBuilder,
    request: GuestRequest | None,
    image: ImageProperties,
    taken: bool,
) -> Iterator[Finding]:
    if request is None:
        seen = "neither the flavor nor the image asks for encryption by AMD SEV"
        remedy = f"set {FLAVOR_KEY}=true on the flavor"
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
    image: ImageProperties,
    request: GuestRequest,
    cloud: Cloud,
    answers: PlacementAnswers | Unavailable,
) -> tuple[tuple[HostVerdict, ...], Finding]:
    subject = FindingBuilder("plan", "hosts", HOSTS)
    if isinstance(answers, Unavailable):
        return (), subject.unread(answers)
    if isinstance(cloud.slots, Unavailable):
        return (), subject.unread(cloud.slots)
    query = candidates.query(flavor, image, cloud.nova)
    question = PlacementQuestion(request, query, answers.candidates, answers.free)
    places = tuple(host_verdicts(question, cloud.slots, cloud.computes))
    taking = [place.host for place in places if place.takes]
    if taking:
        seen = f"{len(taking)} of {_hosts_in_words(places)} would take it: "
        seen += short(taking)
        return places, subject.finding("hosts", Verdict.PASS, seen)
    seen = f"none of {_hosts_in_words(places)} would take it"
    if len(places) == 1:
        seen = f"the only host, {places[0].host}, would not take it: {places[0].why}"
    remedy = (
        "add hosts that have what is missing, free it on these hosts, or ask for less"
    )
    return places, subject.finding("hosts", Verdict.FAIL, seen, remedy)


def _hosts_in_words(places: tuple[HostVerdict, ...]) -> str:
    return f"{len(places)} host{'' if len(places) == 1 else 's'}"


_UNITS = {"MEMORY_MB": "MB of memory", "DISK_GB": "GB of disk", "VCPU": "processors"}


@dataclasses.dataclass(frozen=True)
class HostVerdict:
    """A host, whether it would take the guest, and in words why."""

    host: str
    takes: bool
    why: str


@dataclasses.dataclass(frozen=True)
class PlacementQuestion:
    """What is asked of the hosts: a guest, as Nova's scheduler asks for it.

    ``answer`` and ``free`` are Placement's: its candidates for the guest, and those
    for a slot of any model, which show what else is free there.
    """

    request: GuestRequest
    query: Query
    answer: Mapping[str, Any]
    free: Mapping[str, Any]


def host_verdicts(
    question: PlacementQuestion,
    slots: CloudSlots,
    computes: tuple[Compute, ...] | Unavailable,
) -> list[HostVerdict]:
    """Return a verdict for each host, those that take the guest first."""
    services: dict[str, Compute] = {}
    if not isinstance(computes, Unavailable):
        services = {node: compute for compute in computes for node in compute.nodes}
    offers = _offers(question.answer, slots)
    hosts = sorted(slots.nodes | {pool.root for pool in slots.pools} | set(offers))
    places = [
        _place(host, question, slots, services.get(host), offers.get(host, []))
        for host in hosts
    ]
    return sorted(places, key=lambda place: not place.takes)


def _offers(
    answer: Mapping[str, Any], slots: CloudSlots
) -> dict[str, list[dict[str, Any]]]:
    """Return by host the allocations that Placement would make."""
    found: dict[str, list[dict[str, Any]]] = {}
    summaries = answer.get("provider_summaries", {})
    for candidate in answer.get("allocation_requests", ()):
        allocations = candidate["allocations"]
        # A pool of disks that hosts share is a tree of its own.
        own = next((u for u, a in allocations.items() if SLOT in a["resources"]), None)
        if own is None:
            continue  # no candidate for an encrypted guest
        root = summaries[own]["root_provider_uuid"]
        found.setdefault(slots.names.get(root, root), []).append(allocations)
    return found


def _place(
    host: str,
    question: PlacementQuestion,
    slots: CloudSlots,
    service: Compute | None,
    offers: list[dict[str, Any]],
) -> HostVerdict:
    if service is not None and not service.up:
        return HostVerdict(host, False, "its nova-compute is down")
    if host in slots.disabled or (service is not None and not service.enabled):
        return HostVerdict(host, False, "its nova-compute is disabled")
    request = question.request
    judged = [
        pools.check_allocation(request, offer, lambda u: slots.names.get(u, u))
        for offer in offers
    ]
    if not judged:
        return HostVerdict(host, False, _why_not(host, question, slots))
    found = (p for p in slots.pools if p.root == host and p.model is request.model)
    pool = next(found, None)
    if all(judged) and not (pool and pool.free):
        # With a free slot of its own model, nova-compute exchanges the other for it.
        return HostVerdict(host, False, judged[0][0].found)
    why = f"a slot of {request.model.title} is free"
    if pool is not None:
        why = f"{pool.free} of {pool.total} slots of {request.model.title} free"
    return HostVerdict(host, True, why)


def _why_not(host: str, question: PlacementQuestion, slots: CloudSlots) -> str:
    model = question.request.model
    own = [pool for pool in slots.pools if pool.root == host and pool.total]
    pool = next((pool for pool in own if pool.model is model), None)
    if pool is None:
        others = " and ".join(p.model.title for p in own)
        other = f", only of {others}" if others else ""
        return f"it offers no slot of {model.title}{other}"
    if not pool.free:
        taken = f"all {pool.total} slots of {model.title} are taken"
        return f"{taken} ({pool.used} by guests, {pool.reserved} reserved)"
    return _short_of(host, question, slots) or (
        "Placement does not offer it and gives no reason (see aggregates "
        "and allocation ratios)"
    )


def _short_of(host: str, question: PlacementQuestion, slots: CloudSlots) -> str:
    """Return which resources or traits a host with a free slot lacks."""
    tree = [
        summary
        for summary in question.free.get("provider_summaries", {}).values()
        if slots.names.get(summary["root_provider_uuid"]) == host
    ]
    if not tree:
        return ""
    found = []
    for name, wanted in question.query.resources().items():
        has = [s["resources"][name] for s in tree if name in s["resources"]]
        left = sum(max(0, entry["capacity"] - entry["used"]) for entry in has)
        if name != SLOT and left < wanted:
            found.append(f"{left} of {wanted} {_UNITS.get(name, name)} free")
    traits = {trait for summary in tree for trait in summary["traits"]}
    found += [f"no trait {t}" for t in sorted(question.query.required() - traits)]
    return "it has " + " and ".join(found) if found else ""
