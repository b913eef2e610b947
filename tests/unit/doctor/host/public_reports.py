# SPDX-License-Identifier: Apache-2.0
"""Hosts of public reports: each is a healthy host and what is different on it."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from sev_driver.doctor.host import domains
from sev_driver.doctor.host.archive import Archive, Failure
from sev_driver.host import kernel, kernel_log

FOLDER = pathlib.Path(__file__).parents[3] / "data/reports"
REPORTS = sorted(path for path in FOLDER.glob("*.json") if path.stem != "base")

_DOMAIN_CAPABILITIES = "asked/libvirt/domain-capabilities-kvm.xml"


def load(path: pathlib.Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def answers(report: Mapping[str, Any]) -> dict[str, bytes | Failure]:
    """Return what sev-doctor reads on the host of ``report``, by name."""
    found = answers(load(FOLDER / "base.json")) if report.get("source") else {}
    for name, answer in report.get("answers", {}).items():
        is_text = isinstance(answer, str)
        found[name] = answer.encode() if is_text else Failure(answer[1], answer[0])
    if "dmesg" in report:
        kept = kernel_log.concerning("\n".join(report["dmesg"]))
        found["asked/kernel/log"] = "\n".join(kept).encode()
    if "cmdline" in report:
        line = report["cmdline"].encode()
        found["asked/kernel/command-line"] = kernel.sift_command_line(line)
    if "domains" in report:
        found["asked/libvirt/domains.xml"] = domains.sift(report["domains"])
    if report.get("libvirt") == "deaf":
        found[_DOMAIN_CAPABILITIES] = _deaf(found[_DOMAIN_CAPABILITIES])
    for folder, files in report.get("descriptors", {}).items():
        for name in [n for n in found if n.startswith(f"files{folder}/")]:
            del found[name]
        found[f"folders{folder}"] = json.dumps(sorted(files)).encode()
        for name, content in files.items():
            found[f"files{folder}/{name}"] = json.dumps(content).encode()
    return found


def _deaf(domain_capabilities: bytes | Failure) -> bytes:
    """Return domain capabilities of a libvirt to which QEMU has reported no SEV."""
    assert isinstance(domain_capabilities, bytes)
    head, _, rest = domain_capabilities.partition(b"<sev supported='yes'>")
    return head + b"<sev supported='no'/>" + rest.partition(b"</sev>")[2]


def archive(report: Mapping[str, Any]) -> Archive:
    return Archive("2026-01-01T00:00:00+00:00", "", answers(report), "host")
