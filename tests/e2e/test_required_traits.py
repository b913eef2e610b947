# SPDX-License-Identifier: Apache-2.0
"""Asking for SEV by name: which traits find a host, and which find none."""

import pytest

from devcloud.testing import CloudFixture

TRAIT = "trait:HW_CPU_X86_AMD_SEV"
NUMBERED = "trait1:HW_CPU_X86_AMD_SEV"

#: Extra specs of the flavor beside hw:mem_encryption; whether a host is found.
FLAVORS = {
    # The trait is that of the slots' provider, a child of the host's. A request
    # without a number may be served by both together.
    "unnumbered": ({TRAIT: "required"}, True),
    # A group with a number is one provider, and needs a resource of it. The only
    # one there is a second slot, of a provider that gives one at a time.
    "numbered": ({NUMBERED: "required"}, False),
    "numbered, with a slot": (
        {NUMBERED: "required", "resources1:MEM_ENCRYPTION_CONTEXT": "1"},
        False,
    ),
    "forbidden": ({TRAIT: "forbidden"}, False),
    "another generation": ({"trait:HW_CPU_X86_AMD_SEV_ES": "required"}, False),
}


@pytest.mark.parametrize("case", FLAVORS)
def test_of_the_flavor(case: str, cloud: CloudFixture, uefi_image: str) -> None:
    traits, found = FLAVORS[case]
    flavor = cloud.make_flavor(case, hw__mem_encryption="true", **traits)

    assert is_found(cloud, flavor, uefi_image) is found


# Nova takes no notice of another value than required there.
@pytest.mark.parametrize("value", ["required", "forbidden"])
def test_of_the_image(value: str, cloud: CloudFixture, encrypted_flavor: str) -> None:
    image = cloud.make_image(
        f"trait-{value}", hw_firmware_type="uefi", **{TRAIT: value}
    )
    assert is_found(cloud, encrypted_flavor, image)


def test_a_plain_guest_is_kept_off_where_its_flavor_says_so(
    cloud: CloudFixture, bios_image: str, uefi_image: str
) -> None:
    # nova-compute has made the trait, and set it on the host's own provider.
    off = {"trait:CUSTOM_AMD_SEV_HOST": "forbidden"}
    kept_off = cloud.make_flavor("plain, kept off", **off)
    assert not is_found(cloud, kept_off, bios_image)
    assert is_found(cloud, cloud.make_flavor("plain, anywhere"), bios_image)
    encrypted = cloud.make_flavor("encrypted, beside", hw__mem_encryption="true")
    assert is_found(cloud, encrypted, uefi_image)


def is_found(cloud: CloudFixture, flavor: str, image: str) -> bool:
    """Whether the server finds a host; where it does not, Nova gives no reason."""
    server = cloud.boot("trait", flavor, image)
    status, fault = server.status, server.fault
    cloud.delete(server)
    assert status == "ACTIVE" or "No valid host was found" in fault["message"], fault
    return bool(status == "ACTIVE")
