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

"""What is refused: turned into Nova's errors, told in the log, and counted."""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from sev_driver import metrics, refusal_reasons
from sev_driver.exceptions import SevDriverError
from sev_driver.refusal_reasons import Refusal

LOG = logging.getLogger(__name__)


class Refusals:
    """Those of one nova-compute, counted from its start."""

    def __init__(self) -> None:
        # Nova 34 builds several guests at once, on threads.
        self._lock = threading.Lock()
        self._counts: collections.Counter[Refusal] = collections.Counter()

    def counts(self) -> Mapping[Refusal, int]:
        """Return how often each was the reason, as of now."""
        with self._lock:
            return dict(self._counts)

    @contextlib.contextmanager
    def told_as(
        self,
        nova_error: Callable[[SevDriverError], nova_exception.NovaException],
        instance: objects.Instance,
    ) -> Iterator[None]:
        """Turn our errors into Nova's, by one of the functions of ``translate``."""
        try:
            yield
        except SevDriverError as error:
            LOG.error("%s", error, instance=instance)
            self._count(refusal_reasons.of(error), instance.uuid)
            raise nova_error(error) from error

    def _count(self, refusals: tuple[Refusal, ...], server: str) -> None:
        once = dict.fromkeys(refusals)
        with self._lock:
            self._counts.update(once.keys())
        for refusal in once:
            LOG.info(metrics.refusal_line(refusal, server))
