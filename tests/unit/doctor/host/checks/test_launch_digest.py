# SPDX-License-Identifier: Apache-2.0
"""launch_digest: what a guest's owner can compute before the host is known."""

import dataclasses

import pytest
from host_facts import EVERYTHING, SEV, SEV_SNP, parameters
from nova_evidence import evidence

from sev_driver.doctor.findings import Verdict
from sev_driver.doctor.host.checks import launch_digest
from sev_driver.doctor.host.evidence import Evidence, Fact
from sev_driver.doctor.host.tree import checks_of, run_checks
from sev_driver.host.facts import HostFacts
from sev_driver.host.processor import Processor

PASS, _, _, SKIP = Verdict
GENOA = Processor("AuthenticAMD", 0x19, 0x11, "AMD EPYC 9354", frozenset(), 1)


def facts_with(host_model: str | None) -> HostFacts:
    assert EVERYTHING.domain is not None
    domain = dataclasses.replace(EVERYTHING.domain, host_model=host_model)
    return dataclasses.replace(EVERYTHING, domain=domain)


def conf(*lines: str) -> str:
    return "\n".join(("[libvirt]", *lines)) + "\n"


@pytest.mark.parametrize(
    ("options", "host_model", "verdict", "said"),
    [
        (
            conf(),
            "EPYC-Genoa",
            PASS,
            "unset, and so host-model, and guests have EPYC-G",
        ),
        (conf("cpu_mode = host-model"), "EPYC-Genoa", PASS, "signature 0xa10f10 here"),
        (conf(), None, SKIP, "libvirt names no model for host-model"),
        (conf(), "EPYC-Venice", SKIP, "does not know the CPU signature of EPYC-Venice"),
        # The processor's own stepping counts as well.
        (conf("cpu_mode = host-passthrough"), None, PASS, "signature 0xa10f11 here"),
        (conf("cpu_mode = maximum"), None, PASS, "signature 0xa10f11 here"),
        (conf("cpu_mode = none"), None, PASS, "QEMU's own model"),
        (
            conf("cpu_mode = custom", "cpu_models = EPYC-Milan"),
            "EPYC-Genoa",
            PASS,
            "guests have EPYC-Milan with signature 0xa00f11, as on",
        ),
        (
            conf("cpu_mode = custom", "cpu_models = EPYC-v4, EPYC-Venice"),
            "EPYC-Genoa",
            PASS,
            "0x800f12, EPYC-Venice, by the traits of the flavor, as on",
        ),
        (conf("cpu_mode = custom"), "EPYC", SKIP, "names no model"),
    ],
)
def test_cpu_of_guests(
    options: str, host_model: str | None, verdict: Verdict, said: str
) -> None:
    host = evidence(options, facts=facts_with(host_model), processor=Fact(GENOA))
    (finding,) = run_checks(checks_of(launch_digest), host, SEV_SNP)
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nova_files": {}}, "nova.conf was not read"),
        (
            {
                "facts": dataclasses.replace(
                    EVERYTHING, parameters=parameters(sev_snp="N")
                )
            },
            "AMD SEV-SNP does not run here",
        ),
    ],
)
def test_nothing_is_said_of_what_is_not_known(
    changes: dict[str, object], said: str
) -> None:
    host: Evidence = evidence(conf(), **changes)  # type: ignore[arg-type]
    (finding,) = run_checks(checks_of(launch_digest), host, SEV_SNP)
    assert (finding.verdict, finding.seen) == (SKIP, said)


def test_digest_concerns_snp_alone() -> None:
    assert not run_checks(checks_of(launch_digest), evidence(conf()), SEV)
