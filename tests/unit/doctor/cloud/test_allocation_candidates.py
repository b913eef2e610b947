# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nova import exception, objects
from nova.scheduler import utils

from sev_driver.compute import nova_compat
from sev_driver.doctor.cloud import allocation_candidates
from sev_driver.doctor.cloud.facts import Flavor
from sev_driver.guest.request import ImageProperties

EXTRA_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "hw:mem_encryption": st.sampled_from(["true", "1", "false"]),
        "hw:mem_encryption_model": st.sampled_from(["amd-sev", "amd-sev-es"]),
        "sev:model": st.just("amd-sev-es"),
        "resources:MEM_ENCRYPTION_CONTEXT": st.sampled_from(["0", "1"]),
        "resources:VCPU": st.sampled_from(["0", "3"]),
        "resources:MEMORY_MB": st.just("4096"),
        "resources_KEYS:MEM_ENCRYPTION_CONTEXT": st.just("1"),
        "trait_KEYS:HW_CPU_X86_AMD_SEV_ES": st.just("required"),
        "trait:CUSTOM_AMD_SEV_HOST": st.sampled_from(["required", "forbidden"]),
        "group_policy": st.sampled_from(["none", "isolate"]),
        "os:secure_boot": st.sampled_from(["required", "optional"]),
        "sev_trait:X": st.just("required"),
    },
)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "hw_mem_encryption": st.just("true"),
        "hw_firmware_stateless": st.sampled_from(["true", "false"]),
        "os_secure_boot": st.just("required"),
        "trait:HW_CPU_X86_AMD_SEV": st.just("required"),
    },
)
SIZES = st.tuples(*[st.integers(0, 9)] * 3, st.integers(0, 3000))


def by_nova(
    flavor: Flavor, properties: dict[str, str]
) -> dict[str, str] | exception.NovaException:
    """What Nova itself would ask Placement."""
    objects.register_all()
    spec = objects.RequestSpec(
        flavor=objects.Flavor(
            name=flavor.name,
            vcpus=flavor.vcpus,
            memory_mb=flavor.ram,
            root_gb=flavor.disk,
            ephemeral_gb=flavor.ephemeral,
            swap=flavor.swap,
            extra_specs=dict(flavor.extra_specs),
        ),
        image=objects.ImageMeta.from_dict(
            {"id": "1", "name": "i", "properties": properties}
        ),
        is_bfv=False,
    )
    try:
        request = utils.ResourceRequest.from_request_spec(spec)
    except exception.NovaException as refused:
        return refused
    asked_for = dict(urllib.parse.parse_qsl(request.to_querystring()))
    assert asked_for.pop("limit") == "1000"
    return asked_for


@given(EXTRA_SPECS, PROPERTIES, SIZES)
def test_nova_asks_the_same(
    extra_specs: dict[str, str], properties: dict[str, str], sizes: tuple[int, ...]
) -> None:
    disk, ephemeral, vcpus, swap = sizes
    flavor = Flavor(
        "1", "m1", vcpus + 1, 512, disk, extra_specs, ephemeral=ephemeral, swap=swap
    )
    properties |= {"hw_firmware_type": "uefi", "hw_machine_type": "q35"}
    theirs = by_nova(flavor, properties)
    if isinstance(theirs, exception.NovaException):
        return  # its API refuses the two together
    image = ImageProperties.of("image 1", properties)
    ours = allocation_candidates.query(
        flavor, image, nova_compat.installed_release().number
    ).parameters()
    # Of the request filters, which are no part of ResourceRequest.
    assert ours.pop("root_required") == "!COMPUTE_STATUS_DISABLED"
    assert ours == theirs


def test_pinned_processors() -> None:
    flavor = Flavor("1", "m1", 4, 512, 1, {"hw:cpu_policy": "dedicated"})
    theirs = by_nova(flavor, {})
    ours = allocation_candidates.query(
        flavor, ImageProperties("i", {}), nova_compat.installed_release().number
    )
    assert isinstance(theirs, dict)
    assert ours.parameters()["resources"] == theirs["resources"]
    assert ours.resources()["PCPU"] == 4


@pytest.mark.parametrize(
    ("nova", "required"),
    [(31, set()), (32, {"HW_CPU_X86_AMD_SEV"}), (34, {"HW_CPU_X86_AMD_SEV"})],
)
def test_older_novas_ask_for_no_generation(nova: int, required: set[str]) -> None:
    flavor = Flavor("1", "m1", 1, 512, 1, {"hw:mem_encryption": "true"})
    query = allocation_candidates.query(flavor, ImageProperties("i", {}), nova)
    assert query.resources()["MEM_ENCRYPTION_CONTEXT"] == 1
    assert query.required() == required


def test_what_is_left_out_is_named() -> None:
    specs = {"hw:pmem": "4GB", "hw:cpu_policy": "mixed", "hw:cpu_cores": "1"}
    flavor = Flavor("1", "m1", 1, 512, 1, specs)
    assert allocation_candidates.left_out(flavor) == ("hw:pmem", "hw:cpu_policy")
