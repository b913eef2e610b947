# SPDX-License-Identifier: Apache-2.0

"""A misspelt key of an image, at which Nova's API never looks."""

from nova_cloud import ASKED_BY_IMAGE, UEFI, Cloud


def test_guest_of_a_misspelt_model_is_refused_in_words(cloud: Cloud) -> None:
    image = ASKED_BY_IMAGE | {"hw_mem_encryption_modle": "amd-sev-es"}
    server = cloud.boot(image, state="ERROR")
    assert "set hw_mem_encryption_model=amd-sev-es" in cloud.fault(server)
    assert not cloud.defined
    cloud._delete_server(server)


def test_plain_guest_of_a_misspelt_key_is_built_with_a_warning(cloud: Cloud) -> None:
    server = cloud.boot(UEFI | {"hw_mem_encyption": "true"})
    assert cloud.log.count("hw_mem_encyption=true of image") == 1
    cloud._delete_server(server)
