# SPDX-License-Identifier: Apache-2.0

"""Whether the cloud's hosts give a SEV-SNP guest the same launch digest.

It depends on the guest firmware and on the CPU model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sev_driver.doctor.cloud.compatibility import FindingBuilder, short
from sev_driver.doctor.cloud.facts import Cloud, CloudSlots, Unavailable
from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.exceptions import DetectionError, printable
from sev_driver.host.guest_cpu import signature_of_model
from sev_driver.model import SEV_SNP
from sev_driver.placement.providers import FIRMWARE_TRAIT

FIRMWARE_READS = "traits of the resource providers, of Placement"
CPU_READS = "cpu_info of the hypervisors, of the compute API"

_WHO = f"hosts with {SEV_SNP.title}"


def check_hosts(cloud: Cloud) -> Iterator[Finding]:
    """Yield how hosts with slots of SEV-SNP differ; nothing without such hosts."""
    if isinstance(cloud.slots, Unavailable):
        return
    hosts = sorted(cloud.slots.roots(SEV_SNP))
    if hosts:
        yield _firmware(hosts, firmwares(cloud.slots))
        yield _cpu(hosts, cloud)


def firmwares(slots: CloudSlots) -> dict[str, str]:
    """Return the trait of the guest firmware for SEV-SNP, by host.

    A host is missing if its guest firmware is unknown.
    """
    return {pool.root: pool.firmware for pool in slots.pools if pool.firmware}


def _firmware(hosts: list[str], known: Mapping[str, str]) -> Finding:
    subject = FindingBuilder("host", "all", FIRMWARE_READS)
    found, unknown, also = _grouped(hosts, known)
    if not found:
        seen = f"{_WHO} have no trait that names their guest firmware: {short(unknown)}"
        return subject.finding("firmware", Verdict.SKIP, seen)
    if len(found) == 1:
        seen = f"{_WHO} have the guest firmware of {next(iter(found))}{also}"
        return subject.finding("firmware", Verdict.PASS, seen)
    which = "; ".join(
        f"{trait.removeprefix(FIRMWARE_TRAIT)} on {short(on)}"
        for trait, on in found.items()
    )
    return subject.finding(
        "firmware",
        Verdict.WARN,
        f"{_WHO} have {len(found)} guest firmwares: {which}{also}; a guest has another "
        f"launch digest on each, and an ID block fits one of them",
        f"install the same guest firmware on all of them, or have images require one: "
        f"trait:{FIRMWARE_TRAIT}…=required",
    )


def _cpu(hosts: list[str], cloud: Cloud) -> Finding:
    subject = FindingBuilder("host", "all", CPU_READS)
    if isinstance(cloud.computes, Unavailable):
        return subject.finding("cpu", Verdict.SKIP, cloud.computes.reason)
    models = {n: m for each in cloud.computes for n, m in each.cpu_models.items()}
    found, unknown, also = _grouped(hosts, models)
    if not found:
        seen = f"the compute API names no processor of {_WHO}: {short(unknown)}"
        return subject.finding("cpu", Verdict.SKIP, seen)
    which = "; ".join(f"{printable(m, 40)} on {short(on)}" for m, on in found.items())
    if len({_signature(model) for model in found}) == 1:
        seen = f"{_WHO} have processors of one kind: {which}{also}"
        return subject.finding("cpu", Verdict.PASS, seen)
    return subject.finding(
        "cpu",
        Verdict.WARN,
        f"{_WHO} have different processors: {which}{also}; with [libvirt] cpu_mode = "
        f"host-model or host-passthrough a guest has another launch digest on each",
        "set [libvirt] cpu_mode = custom and the same cpu_models on all of them; "
        "sev-doctor on a host says what it has",
    )


def _grouped(
    hosts: Iterable[str], known: Mapping[str, str]
) -> tuple[dict[str, list[str]], list[str], str]:
    """Return the hosts by value, those without one, and the words for these."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        found.setdefault(known.get(host, ""), []).append(host)
    unknown = found.pop("", [])
    return found, unknown, f"; not known: {short(unknown)}" if unknown else ""


def _signature(model: str) -> int | str:
    """Return what counts of a CPU model; its name if the signature is unknown."""
    try:
        return signature_of_model(model)
    except DetectionError:
        return model
