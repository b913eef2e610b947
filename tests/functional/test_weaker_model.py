# SPDX-License-Identifier: Apache-2.0

"""A server never starts with a weaker model than its user last asked for.

nova-conductor refuses a rebuild, and Nova keeps the properties of the refused image: by
them the server asks for another model.
"""

from collections.abc import Iterator
from typing import Any

import generations
import nova_cloud
import novas
import pytest
from generations import ES, IMAGES, SEV, SNP, asking
from nova_cloud import ASKED_BY_IMAGE, COMPUTE, UEFI, Cloud
from nova_cloud import driver_record as record

from sev_driver.compute.audit import Audit
from sev_driver.domain import verify
from sev_driver.model import MemoryEncryptionModel as Model

OTHER = "compute2"
#: A trait of the other host: Nova refuses a rebuild on this one, but no evacuation.
ELSEWHERE = "CUSTOM_ELSEWHERE"
ASKS = ASKED_BY_IMAGE | {"hw_machine_type": "q35"}
MODEL = "hw_mem_encryption_model"
#: The models that an image can name for new servers on this release.
STRONG = [ES, SNP] if novas.RELEASE >= 34 else [ES]
REFUSED = "the guest has {}, but Nova's record of its image asks for the weaker AMD SEV"


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with (
        generations.cloud(COMPUTE, OTHER, es_slots=5) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        nova_cloud.move_no_disks(patch)
        nova_cloud.cast_resizes(patch)
        cloud.add_trait(OTHER, ELSEWHERE)
        yield cloud


@pytest.fixture(params=STRONG[-1:], ids=lambda model: model.value)
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.param
    return found


@pytest.fixture
def server(cloud: Cloud, model: Model) -> Iterator[dict[str, Any]]:
    """A server whose image names ``model``, and whose record names SEV."""
    server = boot(cloud, model)
    refuse_rebuild(cloud, server)
    yield server
    cloud._delete_server(server)


def strong(cloud: Cloud, model: Model) -> str:
    return cloud.image(
        f"names-{model.value}",
        **IMAGES[model] | ASKS | {MODEL: model.value},
    )


def weak(cloud: Cloud) -> str:
    return cloud.image("names-none", **ASKS)


def slot(cloud: Cloud, server: dict[str, Any]) -> str:
    """Return the name of the provider of a server's slot."""
    names = {
        uuid: name
        for host in (COMPUTE, OTHER)
        for name, uuid in cloud.providers(host).items()
    }
    (held,) = (
        names[uuid]
        for uuid, resources in cloud.resources_of(server).items()
        if "MEM_ENCRYPTION_CONTEXT" in resources
    )
    return held


def boot(cloud: Cloud, model: Model) -> dict[str, Any]:
    server = cloud.server(
        strong(cloud, model), cloud.flavor("names-none"), host=COMPUTE
    )
    assert models(cloud) == [model]
    assert record(server)["sev_driver_model"] == model.value
    return server


def refuse_rebuild(cloud: Cloud, server: dict[str, Any]) -> None:
    """Have nova-conductor refuse a rebuild, and the server be active again."""
    properties = ASKS | {f"trait:{ELSEWHERE}": "required"}
    image = cloud.image("weaker-elsewhere", **properties)
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ERROR")
    cloud.api.post_server_action(server["id"], {"os-resetState": {"state": "active"}})
    assert MODEL not in str(nova_cloud.instance_of(server).system_metadata)


def models(cloud: Cloud) -> list[Model | None]:
    """Return the models that libvirt was given domains with since the last call."""
    found = [verify.encryption_model(xml) for xml in cloud.defined]
    cloud.defined.clear()
    return found


def assert_refused(cloud: Cloud, server: dict[str, Any], model: Model) -> None:
    assert models(cloud) == []
    said = cloud.last_event(server)
    assert REFUSED.format(model.title) in said, said
    assert "Placement" not in said, said


STARTS: dict[str, tuple[Any, str]] = {
    "rescue": ({"rescue": {}}, "ERROR"),
    "shelve": ({"shelve": None}, "ACTIVE"),
    "migrate": ({"migrate": None}, "ACTIVE"),
    "resize": ({"resize": {"flavorRef": "larger"}}, "ACTIVE"),
}


@pytest.mark.parametrize("model", STRONG, ids=lambda model: model.value)
@pytest.mark.parametrize("action", STARTS)
def test_no_door_starts_it_with_less(
    cloud: Cloud, server: dict[str, Any], model: Model, action: str
) -> None:
    cloud.flavor("larger", vcpus=3)
    body, state = STARTS[action]
    cloud.attempt(server, body, state)
    assert_refused(cloud, server, model)
    assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1


def test_hard_reboot_leaves_its_guest_running(
    cloud: Cloud, server: dict[str, Any], model: Model
) -> None:
    before = len(cloud.log)
    cloud.hard_reboot(server)  # For its user a success: Nova logs that it failed.
    assert models(cloud) == []
    assert REFUSED.format(model.title) in cloud.log[before:]


def test_stopped_server_is_not_started(
    cloud: Cloud, server: dict[str, Any], model: Model
) -> None:
    cloud.act(server, {"os-stop": None}, "SHUTOFF")
    cloud.attempt(server, {"os-start": None}, "SHUTOFF")
    assert_refused(cloud, server, model)


def test_evacuation_is_refused(
    cloud: Cloud, server: dict[str, Any], model: Model
) -> None:
    before = record(server)

    source = cloud.evacuate(server, COMPUTE, COMPUTE, status="ERROR")

    cloud.restart(COMPUTE)
    cloud.api.put_service_force_down(source.service_ref.uuid, False)
    assert_refused(cloud, server, model)
    assert record(server) == before


def test_audit_keeps_the_record(
    cloud: Cloud, server: dict[str, Any], model: Model
) -> None:
    """And says why the guest has more than its server asks for."""
    before = len(cloud.log)
    Audit(cloud.driver._host, stop=False).run(COMPUTE)
    assert record(server)["sev_driver_model"] == model.value
    assert f"as requested. {REFUSED.format(model.title)}" in cloud.log[before:]


@pytest.mark.parametrize("model", STRONG, ids=lambda model: model.value)
def test_accepted_rebuild_changes_the_model(
    cloud: Cloud, server: dict[str, Any], model: Model
) -> None:
    """And the slot, and the record; by it, the server lives on with less."""
    cloud.act(server, {"rebuild": {"imageRef": weak(cloud)}}, "ACTIVE")
    assert models(cloud) == [SEV]
    assert record(server)["sev_driver_model"] == SEV.value
    assert slot(cloud, server) == f"{COMPUTE}_amd_sev"
    cloud.hard_reboot(server)
    cloud.act(server, {"rebuild": {"imageRef": strong(cloud, model)}}, "ACTIVE")
    assert models(cloud) == [SEV, model]
    assert slot(cloud, server) == f"{COMPUTE}_{model.symbol}"
    cloud.hard_reboot(server)
    cloud.act(server, {"shelve": None}, "SHELVED_OFFLOADED")
    cloud.act(server, {"unshelve": None}, "ACTIVE")
    assert models(cloud) == [model, model]


def test_rebuild_without_a_free_slot_of_its_model_changes_nothing(
    cloud: Cloud, model: Model
) -> None:
    server = boot(cloud, model)
    cloud.flags(num_memory_encrypted_guests=1, group="libvirt")
    cloud._run_periodics()
    other = cloud.server(weak(cloud), cloud.flavor("names-none"), host=COMPUTE)
    cloud.defined.clear()
    cloud.attempt(server, {"rebuild": {"imageRef": weak(cloud)}}, "ACTIVE")
    cloud.flags(num_memory_encrypted_guests=None, group="libvirt")
    cloud._run_periodics()
    cloud._delete_server(other)
    assert models(cloud) == []
    assert "the host has none of AMD SEV free" in cloud.last_event(server)
    cloud.hard_reboot(server)
    assert models(cloud) == [model]
    assert slot(cloud, server) == f"{COMPUTE}_{model.symbol}"
    cloud._delete_server(server)


def test_corrected_record_starts_it_as_before(
    cloud: Cloud, server: dict[str, Any], model: Model
) -> None:
    instance = nova_cloud.instance_of(server)
    instance.system_metadata[f"image_{MODEL}"] = model.value
    for name, value in IMAGES[model].items():
        instance.system_metadata[f"image_{name}"] = value
    instance.save()
    cloud.hard_reboot(server)
    assert models(cloud) == [model]


@pytest.mark.parametrize("end", ["confirmResize", "revertResize"])
def test_resize_changes_the_model(cloud: Cloud, end: str) -> None:
    """And its revert changes it back, as do the record and the slot."""
    flavors = {
        kind: cloud.flavor(f"resized-{kind.value}", asking(kind)) for kind in (ES, SEV)
    }
    image = cloud.image("resized", **UEFI, hw_machine_type="q35")
    server = cloud.server(image, flavors[ES], host=COMPUTE)
    cloud.act(server, {"resize": {"flavorRef": flavors[SEV]}}, "VERIFY_RESIZE")
    assert models(cloud) == [ES, SEV]
    assert record(server)["sev_driver_model"] == SEV.value
    cloud.act(server, {end: None}, "ACTIVE")
    now = SEV if end == "confirmResize" else ES
    cloud.hard_reboot(server)
    assert models(cloud)[-1] == now
    assert record(server)["sev_driver_model"] == now.value
    cloud._delete_server(server)
