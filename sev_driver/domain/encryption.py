# SPDX-License-Identifier: Apache-2.0

"""Encrypt a domain, and prepare an existing one to be defined again."""

from __future__ import annotations

from collections.abc import Container

from lxml import etree

from sev_driver import safe_xml
from sev_driver.domain import forbidden_devices, transforms, verify
from sev_driver.domain.launch_security import LaunchSecurity
from sev_driver.domain.transforms import EncryptionPlan
from sev_driver.domain.xml import parse_domain
from sev_driver.exceptions import DomainXMLError, Requirement
from sev_driver.guest.requirements import GuestRequest, refuse


def encrypt(
    xml: str,
    request: GuestRequest,
    launch_security: LaunchSecurity,
    *,
    reselect_firmware: bool = False,
    tolerated: Container[Requirement] = (),
) -> str:
    """Return the XML of a domain, changed as :func:`encrypt_element` does.

    :param xml: the whole domain, as Nova generates it.
    :raises DomainXMLError: also if ``xml`` is not a domain.
    """
    root = parse_domain(xml, indent=True)
    encrypt_element(
        root,
        request,
        launch_security,
        reselect_firmware=reselect_firmware,
        tolerated=tolerated,
    )
    return safe_xml.render(root)


def encrypt_element(
    root: etree._Element,
    request: GuestRequest,
    launch_security: LaunchSecurity,
    *,
    reselect_firmware: bool = False,
    tolerated: Container[Requirement] = (),
) -> None:
    """Change a domain in place, so that its guest runs encrypted.

    :param root: the ``<domain>``. If an error is raised, it is partly changed.
    :param request: the guest's request, for the errors.
    :param launch_security: the model and its policy.
    :param reselect_firmware: true to let libvirt select the guest firmware, because
        Nova (32 and older) selected it without regard to the model.
    :param tolerated: requirements that this guest need not meet, because it has run
        before without them.
    :raises RequirementsNotMet: the domain has devices that an encrypted guest cannot
        have.
    :raises DomainXMLError: libvirt could not start the domain.
    :raises EncryptionLost: the result is not encrypted as requested.
    """
    found = forbidden_devices.check_domain(request, root)
    refuse([each for each in found if each.requirement not in tolerated])
    plan = EncryptionPlan(
        launch_security,
        reselect_firmware,
        request.locks_memory,
        measures_kernel=Requirement.KERNEL_HASHES not in tolerated,
    )
    transforms.apply(plan, root)
    verify.verify_element(launch_security, root)


def redefinable(xml: str) -> str:
    """Return the XML of a running domain in a form that libvirt can define again.

    After a volume swap Nova defines the domain from its live XML. In libvirt 9.1 and
    older, that XML names the selected guest firmware and has no ``os/@firmware``, but
    still has the firmware features, which libvirt then rejects. They are removed.

    :param xml: the XML that Nova defines. It is returned unchanged if it needs no
        change, if the guest is not encrypted with a model of AMD, or if it is not a
        domain.
    """
    if "launchSecurity" not in xml:
        return xml
    try:
        root = parse_domain(xml)
    except DomainXMLError:
        return xml
    os = root.find("os")
    if not _is_encrypted(root) or os is None or os.get("firmware") is not None:
        return xml
    features = os.findall("firmware")
    if not features:
        return xml
    for element in features:
        os.remove(element)
    return safe_xml.render(root)


def _is_encrypted(root: etree._Element) -> bool:
    """Return whether the domain is encrypted with a model of AMD."""
    kinds = {element.get("type") for element in root.findall("launchSecurity")}
    return bool(kinds & {"sev", "sev-snp"})
