# SPDX-License-Identifier: Apache-2.0

"""Secure Boot: kept for SEV, refused or left off where QEMU has no SMM."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from unittest import mock

import fixtures
import generations
import nova_cloud
import pytest
from generations import ES, IMAGES, SEV, SNP, asking
from nova_cloud import Cloud

from sev_driver.model import MemoryEncryptionModel

MODELS = pytest.mark.parametrize("model", [ES, SNP], ids=lambda model: model.value)
ASKS = {
    "os_secure_boot of the image": ({"os_secure_boot": "required"}, {}),
    "os:secure_boot of flavor": ({}, {"os:secure_boot": "required"}),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with nova_cloud.cloud(compute=False) as cloud:
        cloud.flags(num_sev_es_guests=5, group="sev")
        cloud.useFixture(
            fixtures.MockPatch(
                "nova.virt.libvirt.host.Host.supports_secure_boot",
                new_callable=mock.PropertyMock,
                return_value=True,
            )
        )
        with generations.switched_on(cloud, SEV, ES, SNP):
            generations.start(cloud)
            yield cloud


def has_secure_boot(xml: str) -> bool:
    root = ET.fromstring(xml)
    by_feature = "os/firmware/feature[@name='secure-boot'][@enabled='yes']"
    return any(
        root.find(p) is not None for p in ("os/loader[@secure='yes']", by_feature)
    )


@pytest.mark.parametrize("ask", ASKS)
def test_required_secure_boot_is_on_with_sev(ask: str, cloud: Cloud) -> None:
    image, flavor = ASKS[ask]
    server = cloud.boot(IMAGES[SEV] | image, asking(SEV) | flavor)
    assert has_secure_boot(cloud.defined[-1])
    cloud._delete_server(server)


@MODELS
@pytest.mark.parametrize("ask", ASKS)
def test_required_secure_boot_is_refused_in_words(
    ask: str, model: MemoryEncryptionModel, cloud: Cloud
) -> None:
    image, flavor = ASKS[ask]
    server = cloud.boot(IMAGES[model] | image, asking(model) | flavor, state="ERROR")
    fault = cloud.fault(server)
    assert ask in fault and model.title in fault and "SMM" in fault
    assert not cloud.defined
    cloud._delete_server(server)


@MODELS
def test_optional_secure_boot_is_off(
    model: MemoryEncryptionModel, cloud: Cloud
) -> None:
    image = IMAGES[model] | {"os_secure_boot": "optional"}
    server = cloud.boot(image, asking(model))
    xml = cloud.defined[-1]
    assert not has_secure_boot(xml)
    assert ET.fromstring(xml).find("features/smm[@state='on']") is None
    cloud._delete_server(server)
