# SPDX-License-Identifier: Apache-2.0

"""Checks of guests that ask for a model of another vendor.

On a host that does not support the model, Nova 34 creates the domain without
encryption. For a rebuild on the same host, it requests no slot.
"""

from __future__ import annotations

from typing import Any

from nova import exception as nova_exception
from nova import objects

from sev_driver.compute import instance as guest_request
from sev_driver.compute import nova_compat
from sev_driver.domain import verify
from sev_driver.exceptions import SevDriverError, Violation
from sev_driver.guest import requirements


class ForeignGuests:
    """The checks before such a guest starts. They accept all other guests.

    :param nova_host: Nova's libvirt Host.
    """

    def __init__(self, nova_host: Any) -> None:
        self._nova_host = nova_host

    def violations(self, instance: objects.Instance) -> tuple[Violation, ...]:
        """Return the violations of ``instance`` on this host."""
        request = guest_request.foreign_request_for(instance)
        if request is None:
            return ()
        found = nova_compat.supports_foreign_model(self._nova_host, request.model)
        return requirements.check_foreign(request, supported=found)

    def is_encrypted(self, instance: objects.Instance) -> bool:
        """Return whether the domain of ``instance`` is encrypted as requested."""
        try:
            verify_domain(instance, self._nova_host.get_guest(instance).get_xml_desc())
        except (nova_exception.InstanceNotFound, SevDriverError):
            return False
        return True


def verify_domain(instance: objects.Instance, xml: str | bytes) -> None:
    """Verify that ``xml`` encrypts ``instance`` as requested.

    :raises EncryptionLost: it does not.
    :raises DomainXMLError: ``xml`` is not a domain.
    """
    request = guest_request.foreign_request_for(instance)
    if request is not None:
        verify.verify_foreign_domain(request.model, xml)
