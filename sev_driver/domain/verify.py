# SPDX-License-Identifier: Apache-2.0

"""Verify that a domain is encrypted as requested, before it starts."""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from sev_driver.domain import launch_security
from sev_driver.domain.launch_security import LaunchSecurity, SnpLaunchSecurity
from sev_driver.domain.xml import parse_domain
from sev_driver.exceptions import EncryptionLost, PolicyTooWeak, printable
from sev_driver.guest.policy import SevPolicy
from sev_driver.model import ForeignModel, MemoryEncryptionModel


def verify_domain(
    expected: LaunchSecurity, xml: str | bytes, *, runs: bool = False
) -> None:
    """Verify that a domain is encrypted with the expected model, policy and inputs.

    A stricter policy than that of nova.conf is accepted.

    :param expected: the requested model, with the launch inputs of the guest's owner,
        and this host's policy if the owner gave none.
    :param runs: true for a domain that runs, or starts again as it ran before a rescue.
        Its inputs are those of its launch, and the owner may have given others since.
    :raises EncryptionLost: the domain is not encrypted, is encrypted with another
        model, allows debugging, or does not have the launch inputs.
    :raises PolicyTooWeak: the domain's policy is weaker than the expected one.
    :raises DomainXMLError: ``xml`` is not a domain.
    """
    verify_element(expected, parse_domain(xml), runs=runs)


def verify_element(
    expected: LaunchSecurity, root: etree._Element, *, runs: bool = False
) -> None:
    """Do as :func:`verify_domain` does, for a domain that is already parsed."""
    model = expected.model
    name = printable(root.findtext("name") or "without a name")
    elements = root.findall("launchSecurity")
    try:
        found = _launch_security(elements)
    except ValueError as error:
        fault = str(error)
        raise EncryptionLost(name, model, fault, in_the_clear=not elements) from None
    policy = found.policy.format()
    if found.model is not model:
        fault = f"launchSecurity of {found.model.title} (policy {policy})"
        raise EncryptionLost(name, model, fault)
    if found.policy.debug and not expected.policy.debug:
        fault = f"policy {policy}, which allows the host to debug it"
        raise EncryptionLost(name, model, fault)
    weaknesses = _weaknesses(found, expected)
    if weaknesses:
        asked = f"{expected.policy.format()} of {expected.policy_source}"
        raise PolicyTooWeak(name, model, policy, asked, weaknesses)
    difference = None if runs else _difference(found, expected)
    if difference is not None:
        raise EncryptionLost(name, model, difference)


def verify_foreign_domain(model: ForeignModel, xml: str | bytes) -> None:
    """Verify that a domain is encrypted with a model of another vendor.

    :raises EncryptionLost: the domain is not encrypted with ``model``.
    :raises DomainXMLError: ``xml`` is not a domain.
    """
    root = parse_domain(xml)
    elements = root.findall("./launchSecurity")
    kinds = [element.get("type") or "" for element in elements]
    if kinds == [model.launch_security]:
        return
    found = "no launchSecurity"
    if kinds:
        found = f"launchSecurity of type {' and '.join(kinds)[:40]!r}"
    name = printable(root.findtext("./name") or "without a name")
    raise EncryptionLost(name, model, found, in_the_clear=not kinds)


def _launch_security(elements: list[etree._Element]) -> LaunchSecurity:
    """Parse the ``<launchSecurity>`` elements of a domain.

    :raises ValueError: there is not exactly one, or its type is not one of AMD's.
    """
    if len(elements) != 1:
        raise ValueError(
            "no launchSecurity" if not elements else "more than one launchSecurity"
        )
    kind = elements[0].get("type")
    if kind not in ("sev", "sev-snp"):
        raise ValueError(f"launchSecurity of type {(kind or '')[:40]!r}")
    try:
        return launch_security.from_element(elements[0])
    except ValueError:
        raise ValueError(
            "a launchSecurity without a valid policy or launch inputs"
        ) from None


def _weaknesses(found: LaunchSecurity, expected: LaunchSecurity) -> tuple[str, ...]:
    # Both have the same model, so their policies have the same class.
    policy: Any = found.policy
    weaknesses: tuple[str, ...] = policy.weaknesses(expected.policy)
    return weaknesses


def _difference(found: LaunchSecurity, expected: LaunchSecurity) -> str | None:
    """Describe the first launch input that is not the expected one."""
    if not isinstance(found, SnpLaunchSecurity):
        return None
    # Both have the same model.
    assert isinstance(expected, SnpLaunchSecurity)  # nosec B101  # for mypy
    is_exact = expected.is_owners_policy or expected.id_block is not None
    if is_exact and found.policy != expected.policy:
        asked = f"{expected.policy.format()} of {expected.policy_source}"
        return f"policy {found.policy.format()}, and not {asked}"
    for name, data in expected.inputs.items():
        if found.inputs[name] != data:
            return _other(name, found.inputs[name], data)
    if found.author_key != expected.author_key:
        return "an authorKey of other launch inputs"
    return None


def _other(name: str, found: bytes | None, expected: bytes | None) -> str:
    if expected is None:
        return f"{name}, which the server no longer has"
    return f"no {name}" if found is None else f"{name} of other launch inputs"


def encryption_model(xml: str | bytes) -> MemoryEncryptionModel | None:
    """Return the AMD model that a domain is encrypted with, None if it is not.

    :param xml: any domain; its policy need not be valid.
    :raises DomainXMLError: ``xml`` is not a domain.
    """
    root = parse_domain(xml)
    element = root.find("./launchSecurity")
    if element is None:
        return _model_of_command_line(root)
    kind = element.get("type")
    if kind not in ("sev", "sev-snp"):
        return None
    if kind == "sev-snp":
        return MemoryEncryptionModel.AMD_SEV_SNP
    try:
        policy = launch_security.policy_of(element)
    except ValueError:
        policy = 0
    # In libvirt, SEV and SEV-ES differ by the ES bit only.
    if policy & SevPolicy.ES:
        return MemoryEncryptionModel.AMD_SEV_ES
    return MemoryEncryptionModel.AMD_SEV


#: libvirt's namespace of arguments that it hands to QEMU unchanged.
_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
#: QEMU's objects of SEV among the arguments, as key=value or as JSON.
_SEV_OBJECT = re.compile(r'^(?:\{.*"qom-type": ?")?(sev-snp-guest|sev-guest)\b')
_POLICY = re.compile(r'\bpolicy"?[=:] ?(0x[0-9a-fA-F]{1,16}|\d{1,20})', re.ASCII)


def _model_of_command_line(root: etree._Element) -> MemoryEncryptionModel | None:
    """Return the model of a guest to which QEMU's arguments give SEV."""
    for argument in root.iterfind(f"./{_QEMU}commandline/{_QEMU}arg"):
        value = argument.get("value") or ""
        found = _SEV_OBJECT.match(value)
        if found is None:
            continue
        if found[1] == "sev-snp-guest":
            return MemoryEncryptionModel.AMD_SEV_SNP
        policy = _POLICY.search(value)
        base = 16 if policy and policy[1].startswith("0x") else 10
        if policy is not None and int(policy[1], base) & SevPolicy.ES:
            return MemoryEncryptionModel.AMD_SEV_ES
        return MemoryEncryptionModel.AMD_SEV
    return None
