# SPDX-License-Identifier: Apache-2.0

"""Slips of the pen are named, and none of Nova's own keys is taken for one."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nova import objects
from nova.api.validation.extra_specs import validators

from sev_driver.guest import spelling
from sev_driver.guest.near_misses import of_flavor, of_image

MODEL = "hw:mem_encryption_model"


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("hw:mem_encyption", "true", "hw:mem_encryption=true"),
        ("hw:mem_encrytpion", "True", "hw:mem_encryption=true"),
        ("hw:men_encription", "yes", "hw:mem_encryption=yes"),
        ("HW:mem_encryption", "true", "hw:mem_encryption=true"),
        ("hw_mem_encryption", "true", "hw:mem_encryption=true"),
        ("hw:mem_encryption ", "true", "hw:mem_encryption=true"),
        ("hw:mem_encryption", "ture", "hw:mem_encryption=true"),
        ("hw:mem_encryption", "flase", "hw:mem_encryption=false"),
        ("hw:mem_encryption", "maybe", "hw:mem_encryption=true"),
        ("hw:mem_encryption", "", "hw:mem_encryption=true"),
        ("hw:mem_encryption_modle", "amd-sev-es", f"{MODEL}=amd-sev-es"),
        ("hw:mem_encryption_model ", "amd-sve-es", f"{MODEL}=amd-sev-es"),
        ("hw_mem_encryption_model", "amd-sev", f"{MODEL}=amd-sev"),
        ("hw:mem_encryption_mode", "on", f"{MODEL}=<model>"),
        ("sev:modle", "amd-sev", "sev:model=amd-sev"),
        ("sev:anything", "0x33", "sev:model=<model>"),
        ("sve:model", "amd-sev-snp", "sev:model=amd-sev-snp"),
    ],
)
def test_near_miss_of_a_flavor(key: str, value: str, meant: str) -> None:
    (miss,) = of_flavor("flavor m1", {key: value})
    assert f"{miss.meant_key}={miss.meant_value}" == meant
    assert str(miss) == (
        f"{key}={value} of flavor m1 has no effect: set {meant} if that is meant, "
        f"or unset it."
    )


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("hw_mem_encyption", "true", "hw_mem_encryption=true"),
        ("hw_mem_encrption", "true", "hw_mem_encryption=true"),
        ("hw:mem_encryption", "true", "hw_mem_encryption=true"),
        ("hw_mem_encryption", "ture", "hw_mem_encryption=true"),
        ("hw_mem_encryption_modle", "amd-sev-es", "hw_mem_encryption_model=amd-sev-es"),
    ],
)
def test_near_miss_of_an_image(key: str, value: str, meant: str) -> None:
    (miss,) = of_image("image 1", {key: value})
    assert f"{miss.meant_key}={miss.meant_value}" == meant


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hw:mem_encryption", "True"),
        ("hw:mem_encryption", "off"),
        ("hw:mem_encryption_model", "whatever"),
        ("sev:model", "amd-sev"),
        ("sev:policy", "0x30000"),
        ("sev:policyx", "0x30000"),
        ("sev:host_data", "user_data"),
        ("gpu:model", "a100"),
        ("sec:model", "strict"),
        ("ssd:model", "pm9a3"),
        ("hw:mem_page_size", "large"),
        ("hw:memory_encrypted_by_us", "true"),
    ],
)
def test_what_is_right_or_somebody_elses_is_left_alone(key: str, value: str) -> None:
    assert of_flavor("flavor m1", {key: value}) == ()


def nova_keys() -> list[str]:
    """Return all extra specs that Nova validates; what stands for any is a 1."""
    validators.load_validators()
    return sorted(re.sub(r"\{\w+\}", "1", name) for name in validators.VALIDATORS)


objects.register_all()
NOVA_KEYS = nova_keys()
OWN = {"hw:mem_encryption", "hw:mem_encryption_model"}
IMAGE_PROPERTIES = sorted(
    {*objects.ImageMetaProps.fields, *objects.ImageMetaProps._legacy_property_map}
    - {"hw_mem_encryption", "hw_mem_encryption_model"}
)
VALUES = st.text(string.printable, max_size=12) | st.sampled_from(
    ["true", "ture", "amd-sev", "amd-sve", "intel-tdx"]
)


def test_nova_validates_more_than_a_few_keys() -> None:
    assert len(NOVA_KEYS) > 50 and "hw:cpu_policy" in NOVA_KEYS


@given(st.sampled_from([key for key in NOVA_KEYS if key not in OWN]), VALUES)
def test_key_of_novas_own_is_never_flagged(key: str, value: str) -> None:
    assert of_flavor("flavor m1", {key: value}) == ()


@given(st.sampled_from(IMAGE_PROPERTIES), VALUES)
def test_image_property_of_novas_own_is_never_flagged(key: str, value: str) -> None:
    assert of_image("image 1", {key: value}) == ()


@given(st.text(string.ascii_lowercase, max_size=6), st.text(max_size=12))
def test_distance_is_that_of_the_words_alone(one: str, other: str) -> None:
    edits = spelling.edits
    assert (edits(one, other) == 0) == (one == other)
    assert edits(one, one[1:]) == bool(one)
    if abs(len(one) - len(other)) <= spelling.EDITS:
        assert edits(one, other) == edits(other, one)
