# SPDX-License-Identifier: Apache-2.0

"""encryption_removed: a line in the log, and never an obstacle."""

from typing import Any

import libvirt
import pytest
from nova import exception as nova_exception
from nova import objects
from nova.compute import task_states
from nova_instances import UUID, instance

from sev_driver.compute import encryption_removed


class Host:
    """Nova's libvirt Host and its guest; ``answer`` is the domain, or an error."""

    def __init__(self, answer: str | Exception) -> None:
        self._answer = answer

    def get_guest(self, guest: objects.Instance) -> "Host":
        return self

    def get_xml_desc(self) -> str:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def rebuilt() -> objects.Instance:
    plain = instance()
    plain.task_state = task_states.REBUILDING
    return plain


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("<domain><launchSecurity type='sev'/></domain>", True),
        ("<domain/>", False),
        ("<domain", False),
    ],
)
def test_rebuild_that_takes_the_encryption_away_is_said(
    xml: str, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    encryption_removed.warn_if_rebuild_disables_encryption(Host(xml), rebuilt())
    assert ("removes the memory encryption" in caplog.text) is said


@pytest.mark.parametrize(
    "error",
    [
        nova_exception.InstanceNotFound(instance_id=UUID),
        nova_exception.InternalError("libvirt is at a loss"),
        nova_exception.HypervisorUnavailable(),
        libvirt.libvirtError("the domain is gone"),
        RuntimeError("anything"),
    ],
)
def test_no_error_ends_a_rebuild_that_nova_would_go_on_with(error: Exception) -> None:
    host: Any = Host(error)
    encryption_removed.warn_if_rebuild_disables_encryption(host, rebuilt())
