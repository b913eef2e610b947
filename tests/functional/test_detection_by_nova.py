# SPDX-License-Identifier: Apache-2.0
"""What a running nova-compute finds out of its host, and at what cost."""

import json
from typing import Any

import fixtures
import nova_cloud
import novas
import pytest
from nova.tests.fixtures import libvirt as fakelibvirt
from nova_cloud import COMPUTE, SLOTS, Cloud
from with_driver import SEV_DRIVER, STOCK_DRIVER

from sev_driver.host.libvirt_connection import LibvirtClient
from sev_driver.model import MemoryEncryptionModel

SEV, SEV_ES, SEV_SNP = MemoryEncryptionModel

WITH_SNP = novas.WITH_SEV.replace(
    "</sev>",
    "</sev><launchSecurity supported='yes'><enum name='sectype'>"
    "<value>sev</value><value>sev-snp</value></enum></launchSecurity>",
)
#: On which Nova 34's own detection raises TypeError.
WITHOUT_TYPES = novas.WITH_SEV.replace(
    "</sev>", "</sev><launchSecurity supported='yes'/>"
)


def switch_on(cloud: Cloud) -> None:
    cloud.kvm_parameters.sev = True
    cloud.kvm_parameters.sev_es = True
    cloud.kvm_parameters.sev_snp = True


def test_launch_security_without_its_types_is_no_error() -> None:
    with nova_cloud.cloud(compute=False) as cloud:
        switch_on(cloud)
        with cloud.domain_features(WITHOUT_TYPES):
            cloud.start_compute(COMPUTE)
            cloud._run_periodics()
        assert set(cloud.providers()) == {COMPUTE, f"{COMPUTE}_amd_sev"}
        assert cloud.slots() == SLOTS
        assert cloud.log.count("AMD SEV-SNP is not available on this host") == 1
        assert "TypeError" not in cloud.log


def descriptor(device: str, filename: str, *features: str) -> str:
    target = {"architecture": "x86_64", "machines": ["pc-q35-*"]}
    return json.dumps(
        {
            "interface-types": ["uefi"],
            "mapping": {"device": device, "filename": filename},
            "targets": [target],
            "features": features,
        }
    )


def test_firmware_that_comes_and_goes_is_noticed_without_a_restart() -> None:
    with nova_cloud.cloud(compute=False) as cloud:
        switch_on(cloud)
        snp = f"{COMPUTE}_amd_sev_snp"
        with cloud.domain_features(WITH_SNP):
            cloud.start_compute(COMPUTE)
            # No folder of descriptors can be read: nothing is held against SEV-SNP.
            assert snp in cloud.providers()

            folder = cloud.kvm_parameters.firmware
            folder.mkdir()
            connection = cloud.driver._host.get_connection()
            known = LibvirtClient(connection).domain_capabilities("kvm").loaders
            for number, filename in enumerate(known):
                plain = descriptor("flash", filename, "amd-sev")
                (folder / f"{number}.json").write_text(plain)
            cloud._run_periodics()
            assert snp not in cloud.providers()
            assert cloud.log.count("no firmware descriptor in") == 1

            fit = descriptor("memory", "/OVMF.amdsev.fd", "amd-sev", "amd-sev-snp")
            (folder / "70-amdsev.json").write_text(fit)
            cloud._run_periodics()
            assert snp in cloud.providers()


@pytest.mark.parametrize("features", [novas.WITH_SEV, WITH_SNP], ids=["sev", "snp"])
def test_a_start_asks_libvirt_no_more_than_with_novas_own_driver(features: str) -> None:
    asked = {
        driver: calls_of_a_start(driver, features)
        for driver in (STOCK_DRIVER, SEV_DRIVER)
    }
    assert asked[STOCK_DRIVER]["getDomainCapabilities"] > 0
    for name, count in asked[SEV_DRIVER].items():
        assert count <= asked[STOCK_DRIVER].get(name, 0), asked


def calls_of_a_start(driver: str, features: str) -> dict[str, int]:
    """What is asked until nova-compute runs and has told Placement of its host."""
    with nova_cloud.cloud(driver, compute=False) as cloud:
        switch_on(cloud)
        asked = count_calls(cloud)
        with cloud.domain_features(features):
            cloud.start_compute(COMPUTE)
        return dict(asked)


def test_what_was_asked_is_not_asked_again() -> None:
    with nova_cloud.cloud(compute=False) as cloud:
        switch_on(cloud)
        asked = count_calls(cloud)
        with cloud.domain_features(WITH_SNP):
            cloud.start_compute(COMPUTE)
            asked.clear()
            for _ in range(10):
                assert cloud.driver._tracker.current()[SEV].slots == SLOTS
        assert asked == {}


def count_calls(cloud: Cloud) -> dict[str, int]:
    """Count from now on what of libvirt detection can use."""
    asked: dict[str, int] = {}

    def counting(name: str) -> Any:
        original = getattr(fakelibvirt.Connection, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            asked[name] = asked.get(name, 0) + 1
            return original(*args, **kwargs)

        return counted

    for name in ("getDomainCapabilities", "getLibVersion", "getVersion"):
        target = f"nova.tests.fixtures.libvirt.Connection.{name}"
        cloud.useFixture(fixtures.MonkeyPatch(target, counting(name)))
    return asked
