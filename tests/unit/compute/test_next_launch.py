# SPDX-License-Identifier: Apache-2.0

"""next_launch: an ID block for another digest is found before a guest is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ovmf_file
import owners_keys
import pytest
from nova import objects
from nova.conf import CONF
from nova.virt.libvirt import driver as libvirt_driver
from nova_instances import instance
from test_launch_facts import HOST, TrackerOf, host_with

from sev_driver import measurement
from sev_driver.compute import doors, next_launch, verdict
from sev_driver.compute.doors import Door
from sev_driver.compute.verdict import ExistingDomain, NextLaunch, Observed
from sev_driver.exceptions import Requirement, RequirementsNotMet
from sev_driver.guest import launch_inputs
from sev_driver.guest.input_keys import Owner
from sev_driver.guest.launch_inputs import LaunchInputs
from sev_driver.guest.requirements import GuestRequest
from sev_driver.host.facts import HostFacts
from sev_driver.measurement import LaunchFacts
from sev_driver.model import SEV_SNP

pytestmark = pytest.mark.skipif(
    not measurement.is_available(), reason="no sev-snp-measure"
)
IMAGE = "70a599e0-31e7-49b7-b260-868f441e862b"
SIGNATURE = 0xA00F11
NONE = NextLaunch()


@pytest.fixture
def firmware(tmp_path: Path) -> str:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(ovmf_file.amdsev())
    return str(path)


@pytest.fixture
def kernel(tmp_path: Path) -> str:
    path = tmp_path / "kernel"
    path.write_text("a kernel")
    return str(path)


@pytest.fixture(autouse=True)
def custom_cpu() -> Iterator[None]:
    CONF.set_override("cpu_mode", "custom", "libvirt")
    CONF.set_override("cpu_models", ["EPYC-Milan"], "libvirt")
    yield
    for name in ("cpu_mode", "cpu_models", "rescue_kernel_id"):
        CONF.clear_override(name, "libvirt")


def existing(firmware: str, boot: str = "", cpu: str = "EPYC-Milan") -> ExistingDomain:
    return ExistingDomain.parse(
        f"<domain><metadata><n:instance xmlns:n='nova'><n:root type='image' "
        f"uuid='{IMAGE}'/></n:instance></metadata><vcpu>2</vcpu>"
        f"<os><loader>{firmware}</loader>{boot}</os>"
        f"<cpu mode='custom'><model>{cpu}</model></cpu>"
        f"<launchSecurity type='sev-snp' kernelHashes='{'yes' if boot else 'no'}'>"
        f"<policy>0x00030000</policy></launchSecurity></domain>"
    )


def booting(kernel: str, cmdline: str) -> str:
    return f"<kernel>{kernel}</kernel><cmdline>{cmdline}</cmdline>"


def server(image: str = IMAGE, kernel: str = "a-kernel") -> objects.Instance:
    found = instance()
    found.image_ref, found.kernel_id = image, kernel
    return found


def signed_inputs() -> LaunchInputs:
    metadata = owners_keys.as_metadata(*owners_keys.sign())
    return launch_inputs.parse(metadata, Owner("image", {}), Owner("flavor", {}))


def predicted(
    door: Door,
    domain: ExistingDomain | None,
    host: HostFacts,
    of: objects.Instance | None = None,
    vcpus: int = 2,
) -> NextLaunch:
    flavor = objects.Flavor(name="m1.new", vcpus=vcpus, extra_specs={})
    tracker: Any = TrackerOf(host)
    given = {"flavor": flavor} if door is doors.MIGRATE else {}
    seen = Observed(domain=domain, inputs=signed_inputs())
    return next_launch.observe(door, of or instance(), given, tracker, seen).launch


def test_guest_without_an_id_block_is_not_measured() -> None:
    nobody: Any = None
    seen = Observed(domain=nobody)
    door = doors.HARD_REBOOT
    assert next_launch.observe(door, nobody, nobody, nobody, seen) is seen


@pytest.mark.parametrize("door", doors.DOORS, ids=lambda door: door.title)
def test_digest_is_known_before_the_guest_is_stopped(door: Door, firmware: str) -> None:
    digest = measurement.launch_digest(LaunchFacts(firmware, 2, SIGNATURE))
    found = predicted(door, existing(firmware), host_with(firmware))
    if door in (doors.HARD_REBOOT, doors.REBUILD):
        assert found == NextLaunch(digest=digest)
    elif door is doors.MIGRATE:
        assert found == NextLaunch(same=digest)
    else:
        assert found == NONE


def test_firmware_that_was_updated_since(firmware: str) -> None:
    before = predicted(doors.HARD_REBOOT, existing(firmware), host_with(firmware))
    Path(firmware).write_bytes(ovmf_file.debian())
    after = predicted(doors.HARD_REBOOT, existing(firmware), host_with(firmware))
    assert after.digest not in (None, before.digest)


def test_unknown_digest_is_not_guessed(firmware: str) -> None:
    host = host_with(firmware)
    assert predicted(doors.HARD_REBOOT, None, host) == NONE
    assert predicted(doors.HARD_REBOOT, existing(firmware), HOST) == NONE
    # nova.conf has another CPU model than the guest was started with.
    rome = existing(firmware, cpu="EPYC-Rome")
    assert predicted(doors.HARD_REBOOT, rome, host) == NONE
    CONF.set_override("cpu_models", ["EPYC-Milan", "EPYC-Rome"], "libvirt")
    assert predicted(doors.HARD_REBOOT, existing(firmware), host) == NONE
    # libvirt now selects another firmware.
    other = existing(firmware + ".old")
    CONF.set_override("cpu_models", ["EPYC-Milan"], "libvirt")
    assert predicted(doors.HARD_REBOOT, other, host) == NONE


def test_default_cpu_mode_is_host_model(firmware: str) -> None:
    CONF.set_override("cpu_mode", None, "libvirt")
    genoa = existing(firmware, cpu="EPYC-Genoa")
    assert predicted(doors.HARD_REBOOT, genoa, host_with(firmware)).digest


@pytest.mark.parametrize("door", [doors.HARD_REBOOT, doors.REBUILD])
def test_kernel(door: Door, firmware: str, kernel: str) -> None:
    host, domain = host_with(firmware), existing(firmware, booting(kernel, "quiet"))
    facts = LaunchFacts(firmware, 2, SIGNATURE, 1, kernel, None, "quiet")
    digest = measurement.launch_digest(facts)
    assert predicted(door, domain, host, server()) == NextLaunch(digest=digest)
    louder = server()
    louder.system_metadata["image_os_command_line"] = "loud"
    for changed in (louder, server(image="another"), server(kernel="")):
        assert predicted(door, domain, host, changed) == NONE


def rescue(digest: str, domain: ExistingDomain, firmware: str) -> None:
    signed = server()
    signed.metadata = owners_keys.as_metadata(*owners_keys.sign(digest))
    tracker: Any = TrackerOf(host_with(firmware))
    next_launch.check_rescue(signed, tracker, lambda _: domain)


def test_rescue(firmware: str) -> None:
    digest = measurement.launch_digest(LaunchFacts(firmware, 2, SIGNATURE))
    rescue(digest, existing(firmware), firmware)
    with pytest.raises(RequirementsNotMet, match="but this host would launch"):
        rescue("ab" * 48, existing(firmware), firmware)


def test_rescue_with_a_kernel(firmware: str, kernel: str) -> None:
    facts = LaunchFacts(firmware, 2, SIGNATURE, 1, kernel, None, "quiet")
    digest = measurement.launch_digest(facts)
    domain = existing(firmware, booting(kernel, "quiet"))
    said = "but a rescue system has another kernel or command line"
    with pytest.raises(RequirementsNotMet, match=said):
        rescue(digest, domain, firmware)
    # Of one signed for the rescue, only the launch shows whether it is right.
    rescue("ab" * 48, domain, firmware)

    # Nova's own command line, for the image's system as for a rescue.
    novas = f"root=/dev/vda {libvirt_driver.CONSOLE}"
    facts = LaunchFacts(firmware, 2, SIGNATURE, 1, kernel, None, novas)
    digest = measurement.launch_digest(facts)
    domain = existing(firmware, booting(kernel, novas))
    rescue(digest, domain, firmware)
    CONF.set_override("rescue_kernel_id", "another", "libvirt")
    with pytest.raises(RequirementsNotMet, match=said):
        rescue(digest, domain, firmware)
    # Signed for the operator's rescue system.
    rescue("ab" * 48, existing(firmware), firmware)


def test_resize_to_another_number_of_vcpus(firmware: str) -> None:
    found = predicted(
        doors.MIGRATE, existing(firmware), host_with(firmware), instance(), 4
    )
    assert found.other == "flavor m1.new has 4 vCPUs instead of 2"


DIGEST = owners_keys.DIGEST


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        (NextLaunch(), None),
        (NextLaunch(digest=DIGEST), None),
        (NextLaunch(digest="ab" * 48), "but this host would launch abab"),
        (NextLaunch(same=DIGEST), None),
        (NextLaunch(same=DIGEST, other="it has 4 vCPUs"), "but it has 4 vCPUs"),
        # The owner has signed another for it, which is checked where it starts.
        (NextLaunch(same="ab" * 48, other="it has 4 vCPUs"), None),
    ],
)
def test_verdict(launch: NextLaunch, said: str | None) -> None:
    request = GuestRequest(
        SEV_SNP,
        ("hw:mem_encryption of flavor m1.snp",),
        firmware_type="uefi",
        firmware_stateless=True,
    )
    slot = {"node1_amd_sev_snp": {"resources": {"MEM_ENCRYPTION_CONTEXT": 1}}}
    seen = Observed(inputs=signed_inputs(), launch=launch, allocations=slot)
    found = verdict.decide(doors.HARD_REBOOT, request, seen).violations
    assert [each.requirement for each in found] == (
        [] if said is None else [Requirement.ID_BLOCK_DIGEST]
    )
    assert said is None or said in str(found[0])
