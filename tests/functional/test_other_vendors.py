# SPDX-License-Identifier: Apache-2.0

"""Guests that ask for encryption by another vendor's model: encrypted, or refused."""

from collections.abc import Iterator
from typing import Any

import generations
import nova_cloud
import novas
import pytest
from nova import context as nova_context
from nova.conf import CONF
from nova.virt.libvirt import host as libvirt_host
from nova_cloud import ASKED_BY_IMAGE, COMPUTE, UEFI, Cloud, find, instance_of

from sev_driver.compute.audit import Audit

Q35 = UEFI | {"hw_machine_type": "q35"}
#: All that the API of Nova 34 wants of such an image.
TDX = {
    **ASKED_BY_IMAGE,
    "hw_machine_type": "q35",
    "hw_firmware_stateless": "true",
    "hw_mem_encryption_model": "intel-tdx",
    "hw_video_model": "none",
}
api_takes_it = pytest.mark.skipif(
    novas.RELEASE in (32, 33), reason="the API refuses the image"
)
nova_runs_it = pytest.mark.skipif(novas.RELEASE < 34, reason="Nova has no Intel TDX")


#: A host of a mixed cloud, with SEV or without, and one of Intel's with TDX.
HOSTS = ("no-sev", "sev", "tdx")


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "tdx":
            for name, value in _FOUND_BY_NOVA.items():
                get = property(lambda _, value=value: value)
                patch.setattr(libvirt_host.Host, name, get)
        with nova_cloud.cloud(compute=False) as cloud:
            cloud.kvm_parameters.sev = request.param == "sev"
            generations.start(cloud)
            yield cloud


_FOUND_BY_NOVA = {"supports_intel_tdx": True, "max_intel_tdx_guests": 5}
without_tdx = pytest.mark.parametrize("shared", HOSTS[:2], indirect=True)
with_tdx = pytest.mark.parametrize("shared", HOSTS[2:], indirect=True)


def ask_for_tdx(server: dict[str, Any]) -> None:
    """Give the server an image that asks, as a refused rebuild may leave it."""
    instance = instance_of(server)
    instance.system_metadata.update({f"image_{k}": v for k, v in TDX.items()})
    instance.save()


@api_takes_it
@without_tdx
def test_rebuild_in_place_is_refused_and_changes_nothing(cloud: Cloud) -> None:
    server = cloud.boot(Q35)
    cloud.defined.clear()
    image = cloud.image("tdx", **TDX)
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ACTIVE")
    assert not cloud.defined
    assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1
    words = "finds no Intel TDX" if novas.RELEASE >= 34 else "intel-tdx, which is no"
    assert words in cloud.log
    cloud._delete_server(server)


@without_tdx
def test_no_door_starts_it_in_the_clear_and_nova_compute_starts(cloud: Cloud) -> None:
    server = cloud.boot(Q35)
    xml = cloud.defined.pop()
    ask_for_tdx(server)
    cloud.restart()
    cloud.defined.clear()

    cloud.attempt(server, {"reboot": {"type": "HARD"}}, "ACTIVE")
    context = nova_context.get_admin_context()
    with pytest.raises(Exception, match="no launchSecurity"):
        cloud.driver._create_guest(context, xml, instance_of(server))
    with pytest.raises(Exception, match="no launchSecurity"):
        cloud.driver._host.get_guest(instance_of(server)).launch()
    assert not cloud.defined

    audit = Audit(cloud.driver._host, stop=False)
    audit.run(CONF.host)
    assert audit.failures == 1
    cloud._delete_server(server)


@nova_runs_it
@with_tdx
def test_host_with_tdx_runs_it_as_stock_nova_does(cloud: Cloud) -> None:
    server = cloud.boot(TDX)
    cloud.hard_reboot(server)
    cloud._rebuild_server(server, cloud.image("again", **TDX))
    kinds = [find(xml, "launchSecurity").get("type") for xml in cloud.defined]
    assert set(kinds) == {"tdx"} and len(kinds) == 3
    cloud.restart()
    audit = Audit(cloud.driver._host, stop=False)
    audit.run(CONF.host)
    assert audit.failures == 0


@nova_runs_it
@with_tdx
def test_host_with_tdx_refuses_a_rebuild_without_a_slot(cloud: Cloud) -> None:
    server = cloud.boot(Q35)
    cloud.defined.clear()
    image = cloud.image("tdx", **TDX)
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ACTIVE")
    assert not cloud.defined
    assert "the server has no slot of Intel TDX in Placement" in cloud.log


@nova_runs_it
@with_tdx
def test_evacuation_without_a_slot_on_the_new_host_is_refused(cloud: Cloud) -> None:
    """Nova's scheduler still has a refused image; the slot is the old host's."""
    other = generations.start(cloud, "compute2")
    cloud.add_trait(other, "CUSTOM_OTHER")
    own = cloud.image("tdx-by-image", **TDX)
    server = cloud.server(own, cloud.flavor("asks-nothing"), host=COMPUTE)
    image = cloud.image("other", **Q35, **{"trait:CUSTOM_OTHER": "required"})
    cloud.attempt(server, {"rebuild": {"imageRef": image}}, "ERROR")
    cloud.act(server, {"rebuild": {"imageRef": own}}, "ACTIVE")

    source = cloud.evacuate(server, COMPUTE, COMPUTE, status="ERROR")

    cloud.restart(COMPUTE)
    cloud.api.put_service_force_down(source.service_ref.uuid, False)
    assert cloud.defined == []
    assert "the server has no slot of Intel TDX in Placement" in cloud.fault(server)
    cloud._delete_server(server)


@nova_runs_it
@with_tdx
@pytest.mark.parametrize("asks", [ASKED_BY_IMAGE | Q35, Q35], ids=["sev", "nothing"])
def test_rescue_in_the_clear_is_refused_while_the_guest_runs(
    asks: dict[str, str], cloud: Cloud
) -> None:
    """Stock Nova makes the rescue system by the rescue image."""
    server = cloud.boot(TDX)
    cloud.defined.clear()
    image = cloud.image(f"rescue-{len(asks)}", **asks)
    cloud.attempt(server, {"rescue": {"rescue_image_ref": image}}, "ACTIVE")
    assert not cloud.defined
    assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1
    assert "does not ask for it" in cloud.last_event(server)
    tdx = cloud.image("rescue-tdx", **TDX)
    cloud.act(server, {"rescue": {"rescue_image_ref": tdx}}, "RESCUE")
    assert find(cloud.defined[0], "launchSecurity").get("type") == "tdx"
    cloud._delete_server(server)
