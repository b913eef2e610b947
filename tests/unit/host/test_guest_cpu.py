# SPDX-License-Identifier: Apache-2.0
"""guest_cpu: the signature of a guest's CPU, or that it is unknown."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from sev_driver.exceptions import DetectionError
from sev_driver.host.guest_cpu import (
    GuestCpu,
    guest_cpu,
    signature,
    signature_of_model,
)
from sev_driver.host.processor import Processor

QEMU = "qemu-system-x86_64"
MILAN = Processor("AuthenticAMD", 0x19, 1, "AMD EPYC 7543", frozenset(), 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EPYC", 0x800F12),
        ("EPYC-v4", 0x800F12),
        ("EPYC-IBPB", 0x800F12),
        ("EPYC-Rome-v4", 0x830F10),
        ("EPYC-Milan", 0xA00F11),
        ("EPYC-Milan-v3", 0xA00F11),
        ("EPYC-Genoa", 0xA10F10),
        ("EPYC-Turin-v1", 0xB00F00),
    ],
)
def test_models(name: str, expected: int) -> None:
    assert signature_of_model(name) == expected


@pytest.mark.parametrize(
    "name", ["EPYC-v9", "EPYC-v0", "EPYC-Venice", "Nehalem", "", "EPYC-Milan-v\u0661"]
)
def test_unknown_models_are_said_to_be_unknown(name: str) -> None:
    with pytest.raises(DetectionError, match="does not know the CPU signature of"):
        signature_of_model(name)


@pytest.mark.parametrize(
    ("family", "model", "stepping", "expected"),
    [
        (23, 1, 2, 0x800F12),
        (25, 17, 0, 0xA10F10),
        (26, 2, 1, 0xB00F21),
        (6, 1, 3, 0x613),
    ],
)
def test_signature(family: int, model: int, stepping: int, expected: int) -> None:
    assert signature(family, model, stepping) == expected


@pytest.mark.parametrize(
    ("mode", "model", "host_model", "processor", "expected"),
    [
        ("custom", "EPYC-v4", "EPYC-Milan", MILAN, GuestCpu("EPYC-v4", 0x800F12)),
        # libvirt's XML of a guest without a <cpu> has no mode.
        (None, "EPYC", None, None, GuestCpu("EPYC", 0x800F12)),
        ("host-model", None, "EPYC-Genoa", MILAN, GuestCpu("EPYC-Genoa", 0xA10F10)),
        ("host-passthrough", None, None, MILAN, GuestCpu("host-passthrough", 0xA00F11)),
        ("maximum", None, None, MILAN, GuestCpu("maximum", 0xA00F11)),
    ],
)
def test_modes(
    mode: str | None,
    model: str | None,
    host_model: str | None,
    processor: Processor | None,
    expected: GuestCpu,
) -> None:
    assert guest_cpu(mode, model, host_model, processor) == expected


@pytest.mark.parametrize(
    ("mode", "processor", "reason"),
    [
        ("custom", MILAN, "the domain names no CPU model"),
        ("host-model", MILAN, "libvirt names no model for host-model"),
        ("host-passthrough", None, "processor cannot be read"),
        (
            "host-passthrough",
            Processor("AuthenticAMD", 0x19, 1, "AMD EPYC 7543", frozenset()),
            "processor cannot be read",
        ),
    ],
)
def test_unknown_signatures_have_a_reason(
    mode: str, processor: Processor | None, reason: str
) -> None:
    with pytest.raises(DetectionError, match=reason):
        guest_cpu(mode, None, None, processor)


def test_cpuinfo_has_the_stepping() -> None:
    text = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nstepping\t: 1\n"
    assert Processor.parse(text).stepping == 1
    assert Processor.parse(text.replace("stepping", "steps")).stepping is None


def test_text() -> None:
    assert str(GuestCpu("EPYC-Milan", 0xA00F11)) == "EPYC-Milan 0xa00f11"


def test_library_has_the_same_signatures() -> None:
    vcpu_types = pytest.importorskip("sevsnpmeasure.vcpu_types")
    theirs = vcpu_types.CPU_SIGS
    assert {name: signature_of_model(name) for name in theirs} == theirs


@pytest.mark.skipif(not shutil.which(QEMU), reason=f"no {QEMU} here")
def test_qemu_has_the_same_signatures() -> None:
    """QEMU itself is asked, with no machine and no processor of this host."""
    command = [QEMU, "-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as qemu:
        assert qemu.stdin and qemu.stdout
        lines, answers = qemu.stdin, qemu.stdout

        def ask(name: str, **arguments: Any) -> Any:
            query = {"execute": name, "arguments": arguments}
            print(json.dumps(query), file=lines, flush=True)
            while "return" not in (answer := json.loads(answers.readline())):
                assert "error" not in answer, answer
            return answer["return"]

        answers.readline()  # the greeting
        ask("qmp_capabilities")
        names = [each["name"] for each in ask("query-cpu-definitions")]
        found = {}
        for name in names:
            if name.startswith("EPYC"):
                model = {"name": name}
                props = ask("query-cpu-model-expansion", type="full", model=model)
                values = props["model"]["props"]
                parts = (values[key] for key in ("family", "model", "stepping"))
                found[name] = signature(*parts)
        ask("quit")
    assert found == {name: signature_of_model(name) for name in found}
    assert "EPYC-Rome" in found
