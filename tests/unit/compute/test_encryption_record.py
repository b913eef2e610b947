# SPDX-License-Identifier: Apache-2.0

"""encryption_record: when it counts, and when it changes."""

from typing import Any

import pytest
from nova import exception as nova_exception
from nova import objects
from nova.compute import vm_states
from nova.conf import CONF
from nova_instances import UUID, instance

from sev_driver.compute import encryption_record, errors
from sev_driver.compute.verdict import ExistingDomain
from sev_driver.conf import opts
from sev_driver.exceptions import Requirement, RequirementsNotMet, Violation
from sev_driver.model import SEV, SEV_ES, AnyModel, ForeignModel

opts.register_opts(CONF)

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


ASKED = {"hw:mem_encryption": "true"}
SEV_FLAVOR = {"sev:model": "amd-sev"}
SNP_FLAVOR = {"sev:model": "amd-sev-snp"}


def flavored(specs: dict[str, str]) -> objects.Flavor:
    return objects.Flavor(name="f", extra_specs=specs)


@pytest.mark.parametrize(
    ("recorded_model", "domain", "own", "old", "new", "asked"),
    [
        ("amd-sev-snp", None, ASKED, None, ASKED, SEV),
        ("amd-sev-snp", None, {}, None, {}, None),
        ("intel-tdx", None, ASKED, None, ASKED, SEV),
        (None, "sev-snp", ASKED, None, ASKED, SEV),
        # A resize does not excuse a request that was lost before.
        ("amd-sev-snp", None, ASKED, None, SEV_FLAVOR, SEV),
    ],
)
def test_weaker_request_is_refused(
    recorded_model: str | None,
    domain: str | None,
    own: dict[str, str],
    old: dict[str, str] | None,
    new: dict[str, str],
    asked: AnyModel | None,
) -> None:
    (violation,) = check(recorded_model, domain, own, old, new)
    assert violation.requirement is Requirement.IMAGE_RECORD
    assert ("the weaker" in violation.found) is (
        asked is not None and recorded_model != "intel-tdx"
    )
    assert asked is None or asked.title in violation.found
    # What Nova shows of the fault of an evacuation.
    fault = errors.for_build(instance(), RequirementsNotMet([violation]))
    assert len(fault.format_message()) < 256


@pytest.mark.parametrize(
    ("recorded_model", "domain", "own", "old", "new"),
    [
        (None, None, ASKED, None, ASKED),
        ("amd-sev", None, ASKED, None, ASKED),
        ("amd-sev", None, SNP_FLAVOR, None, SNP_FLAVOR),
        # Its domain counts, if it has one: stock Nova may have rebuilt it.
        ("amd-sev-snp", "sev", ASKED, None, ASKED),
        # A resize, before and after the guest is moved.
        ("amd-sev-snp", None, SNP_FLAVOR, None, SEV_FLAVOR),
        ("amd-sev-snp", None, SNP_FLAVOR, None, {}),
        ("amd-sev-snp", None, SEV_FLAVOR, SNP_FLAVOR, SEV_FLAVOR),
        # Its request was lost, but the new flavor asks for as much.
        ("amd-sev", None, {}, None, SEV_FLAVOR),
    ],
)
def test_request_for_as_much_is_not_refused(
    recorded_model: str | None,
    domain: str | None,
    own: dict[str, str],
    old: dict[str, str] | None,
    new: dict[str, str],
) -> None:
    assert check(recorded_model, domain, own, old, new) == ()


def check(
    recorded_model: str | None,
    domain: str | None,
    own: dict[str, str],
    old: dict[str, str] | None,
    new: dict[str, str],
) -> tuple[Violation, ...]:
    """Check a server with this record, domain, flavors and new flavor."""
    server = instance(own) if recorded_model is None else recorded(recorded_model)
    server.flavor = flavored(own)
    server.old_flavor = None if old is None else flavored(old)
    found = None
    if domain is not None:
        text = f"<domain><launchSecurity type='{domain}'/></domain>"
        found = ExistingDomain.parse(text)
    return encryption_record.check_request(server, flavored(new), found)


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
