# SPDX-License-Identifier: Apache-2.0

"""Check that running guests are encrypted as requested, and that this is recorded."""

from __future__ import annotations

import time
from typing import Any

from nova import exception as nova_exception
from nova import objects
from nova.conf import CONF
from oslo_log import log as logging

from sev_driver.compute import encryption_record, foreign_guests
from sev_driver.compute import instance as guest_request
from sev_driver.compute.verdict import ExistingDomain
from sev_driver.conf import policy as policy_options
from sev_driver.domain import verify
from sev_driver.exceptions import (
    DomainXMLError,
    EncryptionLost,
    PolicyTooWeak,
    Violation,
)

LOG = logging.getLogger(__name__)


class Audit:
    """Periodic audit, which reports and counts guests that run in the clear.

    :param host: Nova's libvirt Host.
    :param stop: true to power off such guests.
    """

    def __init__(self, host: Any, stop: bool) -> None:
        self._host = host
        self._stop = stop
        self._last = float("-inf")
        #: Guests found in the clear since nova-compute started.
        self.failures = 0

    def due(self, interval: int) -> bool:
        """Return whether ``interval`` seconds have passed; False if it is 0."""
        return interval > 0 and time.monotonic() - self._last >= interval

    def run(self, hostname: str) -> None:
        """Audit all instances on ``hostname``.

        Never raises: a failed audit must not stop Nova's periodic task.
        """
        self._last = time.monotonic()
        try:
            instances = guest_request.instances_on(hostname)
        except Exception:
            LOG.exception("Audit failed: cannot list the instances of this host.")
            return
        for instance in instances:
            # A failure for one instance must not hide the others.
            try:
                self._check(instance)
                self._record(instance, hostname)
            except nova_exception.InstanceNotFound:
                continue  # in libvirt, or by now in Nova's database
            except DomainXMLError as error:
                words = "Audit: cannot determine whether the guest is encrypted. %s"
                LOG.error(words, error, instance=instance)
            except Exception:
                LOG.exception(
                    "Audit: cannot determine whether the guest is encrypted.",
                    instance=instance,
                )

    def _check(self, instance: objects.Instance) -> None:
        try:
            self._verify(instance)
        except EncryptionLost:
            # The instances were listed before, and many audits take a while. Since then
            # the guest may have been rebuilt or resized.
            instance.refresh()
            self._verify_and_report(instance)

    def _verify(self, instance: objects.Instance) -> None:
        """Verify that the guest of ``instance`` is encrypted as requested, if it runs.

        :raises EncryptionLost: it is not.
        """
        request = guest_request.request_for(instance)
        foreign = guest_request.foreign_request_for(instance)
        # During an operation the guest may still have its old flavor or image.
        if instance.task_state is not None or not (request or foreign):
            return
        guest = self._host.get_guest(instance)
        # Also a guest that has suspended itself has its memory on this host.
        if not guest.is_active():
            return
        xml = guest.get_xml_desc()
        if request is None:
            foreign_guests.verify_domain(instance, xml)
        else:
            inputs = guest_request.launch_inputs_for(instance)
            expected = policy_options.launch_security(CONF, request.model, inputs)
            verify.verify_domain(expected, xml, runs=True)

    def _record(self, instance: objects.Instance, hostname: str) -> None:
        """Record the model of a guest that an earlier version has started.

        Also remove a record that is out of date, because Nova's own driver has since
        started the guest in the clear.
        """
        if instance.task_state is not None:
            return
        if not encryption_record.is_outdated(instance, hostname):
            return
        guest = self._host.get_guest(instance)
        if not guest.is_active():
            return
        model = ExistingDomain.parse(guest.get_xml_desc()).any_model
        # The list may be old, and saving replaces what Nova has stored since then.
        instance.refresh()
        # After a refused rebuild, the server may ask for another model.
        if instance.host != hostname or model is not guest_request.asked_model(
            instance
        ):
            return
        if encryption_record.renew(instance, hostname):
            encryption_record.save(instance)

    def _verify_and_report(self, instance: objects.Instance) -> None:
        try:
            self._verify(instance)
        except PolicyTooWeak as error:
            LOG.warning(
                "Audit: the guest runs with a weaker policy than was asked for. %s",
                error,
                instance=instance,
            )
        except EncryptionLost as error:
            if error.in_the_clear:
                self._report(instance, error)
                return
            LOG.error(
                "Audit: the guest is not encrypted as requested. %s",
                self._lost_request(instance) or error,
                instance=instance,
            )

    def _lost_request(self, instance: objects.Instance) -> Violation | None:
        """Return why ``instance`` asks for less than its running guest has."""
        domain = ExistingDomain.parse(self._host.get_guest(instance).get_xml_desc())
        found = encryption_record.check_request(instance, instance.flavor, domain)
        return found[0] if found else None

    def _report(self, instance: objects.Instance, error: EncryptionLost) -> None:
        self.failures += 1
        LOG.error(
            "Audit: the guest asks for encryption and runs in the clear. %s",
            error,
            instance=instance,
        )
        if self._stop:
            LOG.error(
                "Audit: powering off the guest ([sev] stop_unencrypted_guests).",
                instance=instance,
            )
            self._host.get_guest(instance).poweroff()
