# SPDX-License-Identifier: Apache-2.0

"""Translate the driver's errors to Nova's, log and count them."""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from sev_driver.exceptions import Fault, RequirementsNotMet, SevDriverError
from sev_driver.observability import metrics, refusal_reasons
from sev_driver.observability.refusal_reasons import Refusal

LOG = logging.getLogger(__name__)


class ErrorTranslator:
    """Translates, logs and counts refusals, from the start of nova-compute."""

    def __init__(self) -> None:
        # Nova 34 builds several guests at once, in threads.
        self._lock = threading.Lock()
        self._counts: collections.Counter[Refusal] = collections.Counter()

    def counts(self) -> Mapping[Refusal, int]:
        """Return the number of refusals by reason."""
        with self._lock:
            return dict(self._counts)

    @contextlib.contextmanager
    def translate_to(
        self,
        nova_error: Callable[[SevDriverError], nova_exception.NovaException],
        instance: objects.Instance,
    ) -> Iterator[None]:
        """Translate errors of the driver in the body to Nova's.

        :param nova_error: one of the functions of this module, such as
            :func:`for_operation`.
        """
        try:
            yield
        except SevDriverError as error:
            LOG.error("%s", error, instance=instance)
            self._count(refusal_reasons.reasons_of(error), instance.uuid)
            raise nova_error(error) from error

    def _count(self, refusals: tuple[Refusal, ...], server: str) -> None:
        once = dict.fromkeys(refusals)
        with self._lock:
            self._counts.update(once.keys())
        for refusal in once:
            LOG.info(metrics.refusal_line(refusal, server))


def for_build(
    instance: objects.Instance, error: SevDriverError
) -> nova_exception.NovaException:
    """Return the exception for a build.

    BuildAbortException ends the build and shows its text in the server's fault. With
    any other exception, Nova tries the next host.
    """
    if not isinstance(error, RequirementsNotMet):
        return for_operation(error)
    own = [v for v in error.violations if v.fault is Fault.REQUEST]
    if own:
        return nova_exception.BuildAbortException(
            instance_uuid=instance.uuid, reason=" ".join(map(str, own))
        )
    return nova_exception.ComputeResourcesUnavailable(reason=str(error))


def for_operation(error: SevDriverError) -> nova_exception.NovaException:
    """Return the exception for an operation on an existing guest."""
    return nova_exception.InternalError(str(error))


def for_rollback(error: SevDriverError) -> nova_exception.NovaException:
    """Return the exception with which Nova keeps the server's state."""
    return nova_exception.InstanceFaultRollback(for_operation(error))


def for_live_migration(error: SevDriverError) -> nova_exception.NovaException:
    """Return the exception that ends a live migration before it starts."""
    return nova_exception.MigrationPreCheckError(reason=str(error))
