# SPDX-License-Identifier: Apache-2.0

"""Rescue of plain servers by images that ask for encryption.

Not beside the other tests of rescues, whose module has a cloud of its own.
"""

import pytest
from nova.objects import fields
from nova_cloud import ASKED_BY_IMAGE, UEFI, Cloud

#: What Nova knows as a model; 31 and older do not read the property.
NOVAS_MODELS = getattr(getattr(fields, "MemEncryptionModel", None), "ALL", ())
Q35 = UEFI | {"hw_machine_type": "q35"}
#: A rescue image that would have the rescue system encrypted, by a slot of nobody.
ASKING = {
    "sev": ASKED_BY_IMAGE | {"hw_machine_type": "q35"},
    "snp": ASKED_BY_IMAGE
    | {"hw_mem_encryption_model": "amd-sev-snp", "hw_firmware_stateless": "true"},
    "other-vendor": ASKED_BY_IMAGE
    | {
        "hw_machine_type": "q35",
        "hw_firmware_stateless": "true",
        "hw_mem_encryption_model": "intel-tdx",
        "hw_video_model": "none",
    },
}


@pytest.mark.parametrize("has_sev", [True, False], ids=["sev-host", "no-sev-host"])
def test_plain_guest_runs_on_where_the_rescue_image_asks(
    has_sev: bool, empty_cloud: Cloud
) -> None:
    cloud = empty_cloud
    cloud.kvm_parameters.sev = has_sev
    host = f"rescues-{has_sev}"
    cloud.start_compute(host)
    server = cloud.boot(Q35, host=host)
    cloud.defined.clear()
    for case, properties in ASKING.items():
        image = cloud.image(f"asking-{case}", **properties)

        cloud.attempt(server, {"rescue": {"rescue_image_ref": image}}, "ACTIVE")

        assert not cloud.defined, case
        assert cloud.api.get_server(server["id"])["OS-EXT-STS:power_state"] == 1
        model = properties.get("hw_mem_encryption_model", "amd-sev")
        if not NOVAS_MODELS or model in NOVAS_MODELS:  # else Nova's API has ended it
            assert "the server has no slot" in cloud.last_event(server), case
    cloud.act(server, {"rescue": {"rescue_image_ref": cloud.image("plain")}}, "RESCUE")
    assert "launchSecurity" not in cloud.defined[0]
    cloud._delete_server(server)
