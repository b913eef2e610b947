#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""The traits of a host with slots, and of their providers."""

import pytest
from nova_cloud import ASKED_BY_FLAVOR, UEFI, Cloud

from sev_driver import traits

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
    assert traits.HOST in cloud.traits(host, host)
    cloud.kvm_parameters.sev = False
    cloud._run_periodics()
    assert traits.HOST not in cloud.traits(host, host)
    assert SET_BY_THE_OPERATOR in cloud.traits(host, host)
    cloud.kvm_parameters.sev = True
    cloud._run_periodics()
    assert {traits.HOST, SET_BY_THE_OPERATOR} <= cloud.traits(host, host)


def test_a_host_that_never_had_sev_says_nothing(cloud: Cloud) -> None:
    cloud.kvm_parameters.sev = False
    host = cloud.start_compute("never")
    assert traits.HOST not in cloud.traits(host, host)


def test_a_cap_of_none_says_nothing(cloud: Cloud) -> None:
    cloud.flags(group="libvirt", num_memory_encrypted_guests=0)
    host = cloud.start_compute("none-wanted")
    cloud.flags(group="libvirt", num_memory_encrypted_guests=None)
    assert traits.HOST not in cloud.traits(host, host)


def test_a_flavor_can_keep_plain_guests_off(cloud: Cloud) -> None:
    host = cloud.start_compute("for-encrypted-guests")
    off = {f"trait:{traits.HOST}": "forbidden"}
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
        patch.setattr(traits, "is_standard", lambda model: False)
        host = cloud.start_compute("old-os-traits")
        child = f"{host}_amd_sev"
        assert CUSTOM in cloud.traits(child, host)
        assert REAL not in cloud.traits(child, host)
        set_by_the_operator(cloud, host, child, SET_BY_THE_OPERATOR)

    cloud.restart(host)

    assert {REAL, SET_BY_THE_OPERATOR} <= cloud.traits(child, host)
    assert CUSTOM not in cloud.traits(child, host)
