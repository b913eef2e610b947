# SPDX-License-Identifier: Apache-2.0

"""encryption_record: when it counts, and when it changes."""

from typing import Any

import pytest
from nova import exception as nova_exception
from nova import objects
from nova.compute import vm_states
from nova_instances import UUID, instance

from sev_driver.compute import encryption_record
from sev_driver.model import SEV, SEV_ES, AnyModel, ForeignModel

HERE, OTHER = "here", "other"


def recorded(model: str, host: str = HERE, **fields: Any) -> objects.Instance:
    """Return a server that does not ask, with a record."""
    found = instance()
    found.system_metadata |= {"sev_driver_model": model, "sev_driver_host": host}
    for name, value in {"host": HERE, "vm_state": vm_states.ACTIVE, **fields}.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("value", "model"),
    [
        ("amd-sev", SEV),
        ("amd-sev-es", SEV_ES),
        ("intel-tdx", ForeignModel.INTEL_TDX),
        ("of-a-later-version", SEV),
    ],
)
def test_record_of_the_last_host_counts(value: str, model: AnyModel) -> None:
    assert encryption_record.last_model(recorded(value)) is model


def test_record_of_an_earlier_host_does_not_count() -> None:
    assert encryption_record.last_model(recorded("amd-sev", OTHER)) is None


@pytest.mark.parametrize(("shelved_host", "counts"), [(HERE, True), (OTHER, False)])
def test_last_host_of_a_shelved_server_is_where_it_was_shelved(
    shelved_host: str, counts: bool
) -> None:
    """While it is unshelved, its host is already the new one."""
    server = recorded("amd-sev", host=HERE)
    server.host, server.vm_state = "new", vm_states.SHELVED_OFFLOADED
    server.system_metadata["shelved_host"] = shelved_host
    assert (encryption_record.last_model(server) is SEV) is counts


def test_server_without_a_record_was_not_encrypted() -> None:
    assert encryption_record.last_model(instance()) is None


@pytest.mark.parametrize("hostname", ["h" * 255, HERE])
def test_record_fits_into_novas_columns(hostname: str) -> None:
    server = instance({"hw:mem_encryption": "true"}, hw_firmware_type="uefi")
    before = set(server.system_metadata)
    assert encryption_record.renew(server, hostname)
    new = {k: v for k, v in server.system_metadata.items() if k not in before}
    assert new == {"sev_driver_model": "amd-sev", "sev_driver_host": hostname}
    assert all(len(text) <= 255 for item in new.items() for text in item)
    # Nova replaces these at a rebuild.
    assert not any(key.startswith("image_") for key in new)
    assert not encryption_record.renew(server, hostname)


def test_record_of_a_server_that_asks_no_longer_is_removed() -> None:
    server = recorded("amd-sev")
    assert encryption_record.renew(server, HERE)
    assert server.system_metadata == {}


def test_plain_server_is_not_touched() -> None:
    server = instance()
    before = dict(server.system_metadata)
    assert not encryption_record.is_outdated(server, HERE)
    assert not encryption_record.renew(server, HERE)
    assert server.system_metadata == before


@pytest.mark.parametrize(
    "error",
    [
        nova_exception.UnexpectedTaskStateError(
            instance_uuid=UUID, expected="", actual=""
        ),
        nova_exception.InstanceNotFound(instance_id=UUID),
        RuntimeError("the conductor does not answer"),
    ],
)
def test_record_that_cannot_be_saved_fails_nothing(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def save(this: Any, expected_task_state: Any) -> None:
        asked.append(expected_task_state)
        raise error

    monkeypatch.setattr(objects.Instance, "save", save)
    encryption_record.save(recorded("amd-sev"))
    assert asked == [[None]]
