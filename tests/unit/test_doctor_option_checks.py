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

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nova_evidence import PATH, evidence

from sev_driver.doctor import option_checks
from sev_driver.doctor.finding import Finding, Verdict
from sev_driver.doctor.nova_conf import whole
from sev_driver.doctor.tree import look
from sev_driver.model import MemoryEncryptionModel

PASS, WARN, FAIL, SKIP = Verdict


def judged(conf: str) -> tuple[Finding, Finding]:
    values, names = look(
        option_checks.NODES, evidence(conf), MemoryEncryptionModel.AMD_SEV
    )
    return values, names


def test_it_knows_all_options_of_the_driver() -> None:
    conf = pytest.importorskip("sev_driver.conf")
    ours = {
        (group, option.dest): type(option).__name__
        for group, options in conf.list_opts()
        for option in options
    }
    kinds = {
        "IntOpt": option_checks.number,
        "BoolOpt": option_checks.boolean,
    }
    expected = {
        key: kinds.get(kind, option_checks.anything) for key, kind in ours.items()
    }
    assert expected == option_checks.OPTIONS


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


ODD = st.text(alphabet="0123456789_+- \t.eExf", max_size=8)


@given(st.one_of(ODD, st.sampled_from(["yes", "On", "t", "", " 0 ", "TRUE"])))
def test_a_value_is_what_oslo_config_takes_it_for(text: str) -> None:
    types = pytest.importorskip("oslo_config.types")

    def takes(kind: Callable[[str], object]) -> bool:
        try:
            kind(text)
        except ValueError:
            return False
        return True

    assert option_checks.number(text) == takes(types.Integer(min=0))
    assert option_checks.boolean(text) == takes(types.Boolean())
    if option_checks.number(text):
        assert whole(text) == types.Integer(min=0)(text)


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
        ("[sev]\ncolour=blue", "[sev] colour", "take it out"),
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
