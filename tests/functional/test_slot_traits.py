# SPDX-License-Identifier: Apache-2.0


"""The traits of a host with slots, and of their providers."""

import generations
import pytest
from generations import ES
from nova_cloud import ASKED_BY_FLAVOR, UEFI, Cloud
from placement.context import RequestContext
from placement.objects import trait as placement_traits

from sev_driver.model import HOST_TRAIT
from sev_driver.placement import providers

REAL, CUSTOM = "HW_CPU_X86_AMD_SEV", "CUSTOM_HW_CPU_X86_AMD_SEV"
SET_BY_THE_OPERATOR = "CUSTOM_RACK_7"


@pytest.fixture
def cloud(empty_cloud: Cloud) -> Cloud:
    return empty_cloud


def set_by_the_operator(cloud: Cloud, host: str, provider: str, trait: str) -> None:
    cloud.placement.put(f"/traits/{trait}", {}, version="1.6")
    uuid = cloud.providers(host)[provider]
    cloud._set_provider_traits(uuid, [*cloud.traits(provider, host), trait])
    # Nova's client keeps what it has read for five minutes.
    cloud.computes[host].manager.reset()


def test_the_hosts_own_provider_says_that_guests_can_be_encrypted(
    cloud: Cloud,
) -> None:
    host = cloud.start_compute("says-so")
    set_by_the_operator(cloud, host, host, SET_BY_THE_OPERATOR)
    assert HOST_TRAIT in cloud.traits(host, host)
    cloud.kvm_parameters.sev = False
    cloud._run_periodics()
    assert HOST_TRAIT not in cloud.traits(host, host)
    assert SET_BY_THE_OPERATOR in cloud.traits(host, host)
    cloud.kvm_parameters.sev = True
    cloud._run_periodics()
    assert {HOST_TRAIT, SET_BY_THE_OPERATOR} <= cloud.traits(host, host)


def test_a_host_that_never_had_sev_says_nothing(cloud: Cloud) -> None:
    cloud.kvm_parameters.sev = False
    host = cloud.start_compute("never")
    assert HOST_TRAIT not in cloud.traits(host, host)


def test_a_cap_of_none_says_nothing(cloud: Cloud) -> None:
    cloud.flags(group="libvirt", num_memory_encrypted_guests=0)
    host = cloud.start_compute("none-wanted")
    cloud.flags(group="libvirt", num_memory_encrypted_guests=None)
    assert HOST_TRAIT not in cloud.traits(host, host)


def test_a_flavor_can_keep_plain_guests_off(cloud: Cloud) -> None:
    host = cloud.start_compute("for-encrypted-guests")
    off = {f"trait:{HOST_TRAIT}": "forbidden"}
    plain = cloud.boot({}, off, host=host, state="ERROR")
    assert "No valid host" in cloud.fault(plain)
    cloud.boot({}, {}, host=host)
    cloud.boot(UEFI, ASKED_BY_FLAVOR, host=host)
    cloud.kvm_parameters.sev = False
    cloud._run_periodics()
    cloud.boot({}, off, host=host)


def test_a_custom_trait_until_the_real_one_exists(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(providers, "is_standard", lambda model: False)
        host = cloud.start_compute("old-os-traits")
        child = f"{host}_amd_sev"
        assert CUSTOM in cloud.traits(child, host)
        assert REAL not in cloud.traits(child, host)
        set_by_the_operator(cloud, host, child, SET_BY_THE_OPERATOR)

    cloud.restart(host)

    assert {REAL, SET_BY_THE_OPERATOR} <= cloud.traits(child, host)
    assert CUSTOM not in cloud.traits(child, host)


def forgotten_by_placement(cloud: Cloud, trait: str) -> None:
    """Make Placement one of a release that did not know a standard trait yet."""
    with pytest.MonkeyPatch.context() as patch:
        # The only ones that it deletes.
        patch.setattr(placement_traits.Trait, "CUSTOM_NAMESPACE", trait)
        assert cloud.placement.delete(f"/traits/{trait}", version="1.6").status == 204


def placement_is_upgraded(cloud: Cloud) -> None:
    """Have Placement learn the standard traits, as it does when it starts."""
    context = RequestContext()
    context.config = cloud.placement.fixture.conf_fixture.conf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement_traits, "_TRAITS_SYNCED", False)
        placement_traits.ensure_sync(context)


@pytest.mark.skipif(
    not providers.is_standard(ES), reason="os-traits of this release has it not"
)
def test_a_placement_that_knows_less_is_not_asked_for_more(cloud: Cloud) -> None:
    forgotten_by_placement(cloud, ES.trait)
    with generations.switched_on(cloud, ES):
        host = generations.start(cloud, "before-placement")
        child = f"{host}_amd_sev_es"
        assert f"CUSTOM_{ES.trait}" in cloud.traits(child, host)
        assert ES.trait not in cloud.traits(child, host)

        placement_is_upgraded(cloud)
        cloud._run_periodics()

    assert ES.trait in cloud.traits(child, host)
    assert f"CUSTOM_{ES.trait}" not in cloud.traits(child, host)
