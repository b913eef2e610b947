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

"""The cloud's hosts: which offer slots, and which should but do not."""

from __future__ import annotations

from collections.abc import Iterator

from sev_driver.doctor.cloud_facts import Cloud, Compute, Pool, Slots, Unread
from sev_driver.doctor.finding import Finding, Verdict
from sev_driver.doctor.subject import Subject, short
from sev_driver.inventory import UNLIMITED

READS = "resource providers and their inventories, of Placement"
SERVICES = "compute services and hypervisors, of the compute API"

_LOOK = "run sev-doctor on the host; the log of nova-compute says what was found"


def check(cloud: Cloud) -> Iterator[Finding]:
    """Yield what is to be said of the hosts."""
    if isinstance(cloud.computes, Unread):
        yield Subject("service", "compute services", SERVICES).unread(cloud.computes)
        computes: tuple[Compute, ...] = ()
    else:
        computes = cloud.computes
    if isinstance(cloud.slots, Unread):
        yield Subject("host", "slots", READS).unread(cloud.slots)
        return
    services = {node: compute for compute in computes for node in compute.nodes}
    for name in sorted(cloud.slots.nodes | {p.root for p in cloud.slots.pools}):
        yield from _host(name, cloud.slots, services.get(name))
    for compute in computes:
        if not set(compute.nodes) & cloud.slots.nodes:
            subject = Subject("host", compute.host, READS)
            seen = "nova-compute is registered, and Placement has no provider of it"
            remedy = "see its log for why it does not report its resources"
            yield subject.finding("provider", Verdict.FAIL, seen, remedy)
    yield from _plain(cloud.slots)


def _host(name: str, slots: Slots, service: Compute | None) -> Iterator[Finding]:
    subject = Subject("host", name, READS)
    pools = [pool for pool in slots.pools if pool.root == name]
    offers = [pool for pool in pools if pool.total > pool.reserved]
    if not offers:
        yield from _none_offered(subject, pools, name in slots.marked)
        return
    if service is not None:
        yield from _service(name, service, offers)
    told = "; ".join(map(_words, offers))
    yield subject.finding("slots", Verdict.PASS, f"offers {told}")
    for pool in pools:
        yield from _pool(subject, pool)


def _words(pool: Pool) -> str:
    if pool.total == UNLIMITED:
        return f"{pool.model.title}, no limit is known"
    return f"{pool.model.title}, {pool.free} of {pool.total} slots free"


def _none_offered(
    subject: Subject, pools: list[Pool], marked: bool
) -> Iterator[Finding]:
    held = sum(pool.used for pool in pools)
    if held:
        seen = f"offers no slot, and {held} guests hold slots of it: SEV was lost there"
        seen += ", or is limited to none"
        yield subject.finding("slots", Verdict.FAIL, seen, _LOOK)
    elif any(pool.total for pool in pools):
        count = sum(pool.reserved for pool in pools)
        seen = f"has {count} slots, and all are reserved: others on the host hold them"
        remedy = "see virsh list there for guests that are not Nova's"
        yield subject.finding("slots", Verdict.FAIL, seen, remedy)
    elif pools or marked:
        seen = "is marked as a host with AMD SEV" if marked else "has a provider for it"
        seen = f"{seen}, and offers no slot"
        yield subject.finding("slots", Verdict.FAIL, seen, _LOOK)


def _service(name: str, service: Compute, offers: list[Pool]) -> Iterator[Finding]:
    subject = Subject("host", name, SERVICES)
    count = sum(pool.free for pool in offers)
    cost = f"none of its {count} free slots can be used"
    if not service.up:
        seen = f"its nova-compute is down: {cost}"
        remedy = f"start nova-compute on {service.host}; see its log"
        yield subject.finding("service", Verdict.FAIL, seen, remedy)
    elif not service.enabled:
        why = f" ({service.disabled_reason})" if service.disabled_reason else ""
        seen = f"its nova-compute is disabled{why}: {cost}"
        remedy = f"openstack compute service set --enable {service.host} nova-compute"
        yield subject.finding("service", Verdict.WARN, seen, remedy)


def _pool(subject: Subject, pool: Pool) -> Iterator[Finding]:
    who = f"provider {pool.provider}"
    if pool.on_root:
        yield subject.finding(
            "root-slots",
            Verdict.WARN,
            "has its slots on its own provider, as Nova 31 and older",
            "where it runs sev_driver: unset [sev] slots_on_root_provider and restart "
            "nova-compute; else upgrade it",
        )
    elif not pool.found:
        yield subject.finding(
            "trait",
            Verdict.FAIL,
            f"{who} lacks the trait {pool.model.trait}: Nova 32 and later does not "
            f"find its slots",
            "restart its nova-compute, which sets it; see who takes it away",
        )
    if pool.total == UNLIMITED:
        yield subject.finding(
            "limit",
            Verdict.WARN,
            f"{who} offers slots without a limit: guests beyond the hardware's number "
            f"fail when they start",
            "upgrade libvirt to 8.0 or later, or set [libvirt] "
            "num_memory_encrypted_guests",
        )
    elif pool.used > pool.total - pool.reserved:
        yield subject.finding(
            "overfull",
            Verdict.WARN,
            f"{who}: {pool.used} slots are held and {pool.total - pool.reserved} are "
            f"offered; a guest that stops may not start again",
            "move guests to other hosts; see who else uses SEV there",
        )


def _plain(slots: Slots) -> Iterator[Finding]:
    """One line for all hosts of which nothing says that they should offer any."""
    known = slots.marked | {pool.root for pool in slots.pools}
    plain = sorted(slots.nodes - known)
    subject = Subject("host", "all", READS)
    if not any(pool.total > pool.reserved for pool in slots.pools):
        seen = f"no host of {len(slots.nodes)} offers a slot"
        yield subject.finding("none", Verdict.FAIL, seen, _LOOK)
    elif plain:
        seen = f"{len(plain)} without slots and without a sign of SEV: {short(plain)}"
        yield subject.finding("plain", Verdict.SKIP, seen)
