# SPDX-License-Identifier: Apache-2.0
"""launch_facts: what is written of a launch, and that nothing fails by it."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import ovmf_file
import owners_keys
import pytest
from host_facts import parameters
from nova import exception as nova_exception
from nova import objects
from nova.compute import task_states
from nova.conf import CONF
from nova_instances import instance

from sev_driver import measurement
from sev_driver.compute import launch_facts
from sev_driver.compute.launch_facts import LaunchRecorder
from sev_driver.conf import opts
from sev_driver.domain.launched_domain import LaunchedDomain
from sev_driver.exceptions import Fault, RequirementsNotMet
from sev_driver.guest.requirements import GuestRequest
from sev_driver.host.domain_capabilities import DomainCapabilities
from sev_driver.host.facts import HostFacts, SystemFacts, Versions
from sev_driver.host.firmware import FirmwareDescriptor, FirmwareView
from sev_driver.host.processor import Processor
from sev_driver.measurement import LaunchFacts
from sev_driver.model import SEV, SEV_SNP

opts.register_opts(CONF)

HOST = HostFacts(
    "kvm",
    "x86_64",
    parameters(),
    DomainCapabilities(True, host_model="EPYC-Genoa"),
    versions=Versions((11, 3, 0), (10, 0, 13), (6, 12, 0)),
    system=SystemFacts(
        processor=Processor("AuthenticAMD", 0x19, 1, "EPYC", frozenset(), 1)
    ),
)
SNP_REQUEST = GuestRequest(SEV_SNP, ("hw:mem_encryption of flavor m1.snp",))
XML = """
<domain><vcpu>2</vcpu><os><loader>{firmware}</loader></os>
<cpu mode='custom'><model>EPYC-Milan</model></cpu>
<launchSecurity type='sev-snp'><policy>0x00030000</policy></launchSecurity></domain>
"""


@pytest.fixture
def domain(tmp_path: Path) -> LaunchedDomain:
    firmware = tmp_path / "OVMF.fd"
    firmware.write_bytes(ovmf_file.amdsev())
    return LaunchedDomain(0x30000, 2, str(firmware), "custom", "EPYC-Milan")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest(facts: LaunchFacts) -> str:
    """Return the digest; where the library is not installed, that it is not."""
    if not measurement.is_available():
        return f"unknown: {measurement.NOT_INSTALLED}"
    return measurement.launch_digest(facts)


def test_facts(domain: LaunchedDomain) -> None:
    assert domain.firmware is not None
    assert launch_facts.facts(domain, HOST) == {
        "digest": digest(LaunchFacts(domain.firmware, 2, 0xA00F11)),
        "firmware": sha256(ovmf_file.amdsev()),
        "firmware_path": domain.firmware,
        "vcpus": "2",
        "cpu": "EPYC-Milan 0xa00f11",
        "features": "0x1",
        "policy": "0x00030000",
        "kernel": "none",
        "initrd": "none",
        "cmdline": "none",
        "by": "QEMU 10.0.13 libvirt 11.3.0",
    }


def test_facts_with_a_kernel(domain: LaunchedDomain, tmp_path: Path) -> None:
    kernel, initrd = tmp_path / "kernel", tmp_path / "ramdisk"
    kernel.write_text("a kernel")
    initrd.write_text("an initrd")
    booted = dataclasses.replace(
        domain, kernel=str(kernel), initrd=str(initrd), cmdline="quiet"
    )
    measured = dataclasses.replace(booted, measures_kernel=True)
    assert domain.firmware is not None
    expected = LaunchFacts(
        domain.firmware, 2, 0xA00F11, 1, str(kernel), str(initrd), "quiet"
    )
    found = launch_facts.facts(measured, HOST)
    assert found["digest"] == digest(expected)
    assert found["kernel"] == sha256(b"a kernel")
    assert found["initrd"] == sha256(b"an initrd")
    assert found["cmdline"] == sha256(b"quiet")
    # Not measured: any kernel could have been loaded.
    assert launch_facts.facts(booted, HOST) == launch_facts.facts(domain, HOST)
    alone = dataclasses.replace(measured, initrd=None)
    assert launch_facts.facts(alone, HOST)["initrd"] == "none"


@pytest.mark.parametrize(
    ("change", "fact", "expected"),
    [
        ({"cpu_mode": "host-model"}, "cpu", "EPYC-Genoa 0xa10f10"),
        ({"cpu_mode": "host-passthrough"}, "cpu", "host-passthrough 0xa00f11"),
        (
            {"cpu_model": "EPYC-Zen9"},
            "cpu",
            "unknown: sev_driver does not know the CPU signature of EPYC-Zen9",
        ),
        ({"firmware": None}, "firmware", "unknown: the domain names no firmware"),
        ({"firmware": None}, "firmware_path", "unknown: the domain names no firmware"),
        (
            {"firmware": "/absent"},
            "firmware",
            "unknown: /absent cannot be read: No such file or directory",
        ),
        ({"firmware": "/absent"}, "firmware_path", "/absent"),
    ],
)
def test_facts_that_differ(
    change: dict[str, Any], fact: str, expected: str, domain: LaunchedDomain
) -> None:
    changed = dataclasses.replace(domain, **change)
    found = launch_facts.facts(changed, HOST)
    assert found[fact] == expected
    if expected.startswith("unknown"):
        assert found["digest"].startswith("unknown: ")


def test_versions_that_are_unknown(domain: LaunchedDomain) -> None:
    bare = dataclasses.replace(HOST, versions=Versions())
    expected = "unknown: libvirt does not report its version"
    assert launch_facts.facts(domain, bare)["by"] == expected


class Host:
    """Nova's libvirt Host and its one guest."""

    def __init__(self, answer: str | Exception, *, runs: bool = True) -> None:
        self._answer, self._runs = answer, runs

    def get_guest(self, guest: objects.Instance) -> Host:
        return self

    def is_active(self) -> bool:
        return self._runs

    def get_xml_desc(self) -> str:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Tracker:
    def facts(self) -> HostFacts:
        return HOST


def recorder(answer: str | Exception, *, runs: bool = True) -> LaunchRecorder:
    return LaunchRecorder(Host(answer, runs=runs), Tracker())  # type: ignore[arg-type]


def server(**metadata: str) -> objects.Instance:
    made = instance()
    made.task_state = task_states.SPAWNING
    made.metadata = {"sev:policy": "0x30000", "mine": "yes", **metadata}
    return made


NAMES = "digest firmware firmware_path vcpus cpu features policy kernel initrd cmdline"
FACTS = {f"sev:launched_{name}" for name in (*NAMES.split(), "by")}


def test_record(domain: LaunchedDomain) -> None:
    launched = server(**{"sev:launched_by": "me", "sev:launched_before": "x"})
    xml = XML.format(firmware=domain.firmware)
    recorder(xml).record(launched, SNP_REQUEST)
    assert set(launched.metadata) == {"sev:policy", "mine"} | FACTS
    assert launched.metadata["sev:launched_cpu"] == "EPYC-Milan 0xa00f11"
    assert launched.metadata["sev:launched_by"] == "QEMU 10.0.13 libvirt 11.3.0"
    assert "metadata" in launched.obj_what_changed()


@pytest.mark.parametrize(
    "answer",
    [
        nova_exception.InstanceNotFound(instance_id="x"),
        RuntimeError("anything"),
        "<domain",
        "<domain/>",
    ],
)
def test_a_domain_that_cannot_be_read_is_unknown(answer: str | Exception) -> None:
    launched = server(**{"sev:launched_digest": "that of the last launch"})
    recorder(answer).record(launched, SNP_REQUEST)
    values = {launched.metadata[key] for key in FACTS}
    assert values == {"unknown: the guest's domain cannot be read"}


def test_a_guest_that_was_not_started_keeps_what_was_written() -> None:
    stopped = server(**{"sev:launched_digest": "that of the last launch"})
    recorder("", runs=False).record(stopped, SNP_REQUEST)
    assert stopped.metadata["sev:launched_digest"] == "that of the last launch"


def test_a_plain_guest_is_not_looked_at() -> None:
    class Nothing:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    LaunchRecorder(Nothing(), Nothing()).record(Nothing(), None)  # type: ignore[arg-type]


def test_a_guest_of_another_model_loses_what_was_written() -> None:
    changed = server(**{"sev:launched_digest": "of a launch with SEV-SNP"})
    recorder(RuntimeError()).record(changed, GuestRequest(SEV, ("flavor",)))
    assert changed.metadata == {"sev:policy": "0x30000", "mine": "yes"}


def test_the_option_is_off(domain: LaunchedDomain) -> None:
    launched = server(**{"sev:launched_digest": "of an earlier launch"})
    CONF.set_override("tell_launch", False, group="sev")
    try:
        recorder(XML.format(firmware=domain.firmware)).record(launched, SNP_REQUEST)
    finally:
        CONF.clear_override("tell_launch", group="sev")
    assert launched.metadata == {"sev:policy": "0x30000", "mine": "yes"}


def test_a_start_with_the_host_is_saved(
    domain: LaunchedDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    monkeypatch.setattr(objects.Instance, "save", lambda self: saved.append(self))
    # What a user has set since nova-compute has read it.
    stored = server(new="yes")
    monkeypatch.setattr(objects.Instance, "get_by_uuid", lambda *_, **__: stored)
    launched = server()
    xml = XML.format(firmware=domain.firmware)
    recorder(xml).record(launched, SNP_REQUEST)
    assert saved == []
    launched.task_state = None
    recorder(xml).record(launched, SNP_REQUEST)
    assert saved == [launched]
    own = {"sev:policy": "0x30000", "mine": "yes", "new": "yes"}
    assert launched.metadata.items() >= own.items()


def test_a_failure_fails_no_launch(
    domain: LaunchedDomain, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(self: objects.Instance) -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(objects.Instance, "save", fail)
    launched = server()
    launched.task_state = None
    recorder(XML.format(firmware=domain.firmware)).record(launched, SNP_REQUEST)
    assert "Cannot write what was launched" in caplog.text


# ID blocks

DESCRIPTOR = FirmwareDescriptor(
    "",
    "memory",
    frozenset({"uefi"}),
    ("pc-q35-*",),
    frozenset({"amd-sev", "amd-sev-es", "amd-sev-snp"}),
)
WITHOUT_LOADER = XML.replace("<loader>{firmware}</loader>", "<loader stateless='yes'/>")


def host_with(path: str) -> HostFacts:
    """Return a host on which libvirt selects this guest firmware."""
    view = FirmwareView(("/usr",), (dataclasses.replace(DESCRIPTOR, filename=path),))
    return dataclasses.replace(HOST, firmware=view)


def signed_server(digest: str) -> objects.Instance:
    return server(**owners_keys.as_metadata(*owners_keys.sign(digest)))


@pytest.mark.skipif(not measurement.is_available(), reason="no sev-snp-measure")
@pytest.mark.parametrize("xml", [XML, WITHOUT_LOADER])
def test_id_block_is_compared_with_what_will_be_launched(
    xml: str, domain: LaunchedDomain
) -> None:
    path = str(domain.firmware)
    text = xml.format(firmware=path)
    digest = measurement.launch_digest(LaunchFacts(path, 2, 0xA00F11))
    tracker: Any = TrackerOf(host_with(path))
    launch_facts.check_id_block(signed_server(digest), text, tracker)
    launch_facts.check_id_block(server(), text, tracker)
    with pytest.raises(RequirementsNotMet, match="but this host would launch") as error:
        other = text.replace(">2<", ">4<")
        launch_facts.check_id_block(signed_server(digest), other, tracker)
    (violation,) = error.value.violations
    assert violation.fault is Fault.HOST


@pytest.mark.parametrize(
    ("xml", "host"),
    [
        (XML, HOST),  # of a firmware that this process cannot read
        (WITHOUT_LOADER, HOST),
        ("<domain/>", HOST),
    ],
)
def test_id_block_is_left_to_the_processor_if_the_digest_is_unknown(
    xml: str, host: HostFacts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    text = xml.format(firmware="/absent")
    tracker: Any = TrackerOf(host)
    launch_facts.check_id_block(signed_server("00" * 48), text, tracker)
    assert "Only the secure processor will compare the ID block" in caplog.text


@dataclasses.dataclass
class TrackerOf:
    host: HostFacts

    def facts(self) -> HostFacts:
        return self.host
