# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nova_evidence import PATH, evidence

from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.doctor.host.checks import nova as options
from sev_driver.doctor.host.tree import checks_of, run_checks
from sev_driver.model import MemoryEncryptionModel

PASS, WARN, FAIL, SKIP = Verdict


def judged(conf: str) -> tuple[Finding, Finding]:
    values, names = run_checks(
        checks_of(options)[-2:], evidence(conf), MemoryEncryptionModel.AMD_SEV
    )
    return values, names


@pytest.mark.parametrize(
    ("conf", "verdict", "said"),
    [
        ("", PASS, ""),
        ("[sev]\nnum_sev_es_guests = 3", PASS, ""),
        ("[sev]\nnum_sev_es_guests = three", FAIL, "num_sev_es_guests is 'three'"),
        ("[sev]\nnum_sev_es_guests = -1", FAIL, "'-1'"),
        ("[libvirt]\nnum_memory_encrypted_guests = 1.5", FAIL, "'1.5'"),
        # As oslo.config has it.
        ("[sev]\nnum_sev_es_guests = +5", PASS, ""),
        ("[sev]\nnum_sev_es_guests = 1_000", PASS, ""),
        ("[sev]\nnum_sev_es_guests =", PASS, ""),
        ("[sev]\nnum_sev_es_guests = 1__0", FAIL, "'1__0'"),
        # Digits of other scripts are numbers for Python, and so for oslo.config.
        ("[sev]\nnum_sev_es_guests = \u0663", PASS, ""),
        ("[sev]\nallow_debug =", FAIL, "allow_debug is ''"),
        ("[sev]\nallow_debug = maybe", FAIL, "allow_debug is 'maybe'"),
        ("[sev]\nallow_debug = YES", PASS, ""),
        ("[sev]\nsev_policy = what only its own check understands", PASS, ""),
    ],
)
def test_values(conf: str, verdict: Verdict, said: str) -> None:
    finding = judged(conf)[0]
    assert (finding.verdict, said in finding.seen) == (verdict, True), finding
    if verdict is FAIL:
        assert PATH in finding.remedy


def test_number_out_of_range_is_named_with_the_range() -> None:
    finding = judged("[sev]\naudit_interval = -3")[0]
    assert finding.remedy.startswith("set it to a number of 0 or more in ")


@pytest.mark.parametrize(
    ("conf", "stray", "meant"),
    [
        ("[sev]\naudit_intervall=3", "[sev] audit_intervall", "[sev] audit_interval"),
        (
            "[libvirt]\nnum_memory_encrypted_guest=3",
            "[libvirt] num_memory_encrypted_guest",
            "[libvirt] num_memory_encrypted_guests",
        ),
        (
            "[DEFAULT]\nnum_memory_encrypted_guests=3",
            "[DEFAULT] num_memory_encrypted_guests",
            "[libvirt] num_memory_encrypted_guests",
        ),
        (
            "[libvirt]\nnum_sev_es_guests=3",
            "[libvirt] num_sev_es_guests",
            "[sev] num_sev_es_guests",
        ),
        ("[sev]\nnum_es_guests=3", "[sev] num_es_guests", "[sev] num_sev_es_guests"),
        ("[sev]\ncolour=blue", "[sev] colour", "remove it"),
    ],
)
def test_misspelt_names(conf: str, stray: str, meant: str) -> None:
    finding = judged(conf)[1]
    assert (finding.verdict, stray in finding.seen) == (WARN, True), finding
    assert meant in finding.remedy
    assert PATH in finding.remedy


def test_options_of_nova_itself_are_let_alone() -> None:
    nova = pytest.importorskip("nova.conf")
    libvirt = pytest.importorskip("nova.conf.libvirt")
    compute = pytest.importorskip("nova.conf.compute")
    assert nova
    text = ["[libvirt]"]
    text += [f"{o.dest} = 1" for o in libvirt.list_opts()[libvirt.libvirt_group]]
    text += ["[DEFAULT]"]
    text += [f"{o.dest} = 1" for o in compute.list_opts()["DEFAULT"]]
    finding = judged("\n".join(text))[1]
    assert (finding.verdict, finding.remedy) == (PASS, "")


@given(st.text(), st.sampled_from(["sev", "libvirt", "DEFAULT"]))
def test_whatever_stands_there_is_judged(text: str, section: str) -> None:
    judged(f"[{section}]\n{text}")
