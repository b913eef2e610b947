# SPDX-License-Identifier: Apache-2.0
"""texts: what is kept of the kernel's log."""

import pytest

from sev_driver.doctor.host import parsers
from sev_driver.doctor.host.evidence import Memory
from sev_driver.exceptions import DetectionError
from sev_driver.host import kernel_log


@pytest.mark.parametrize(
    "line",
    [
        "[    0.000000] Command line: ro iommu=nopt rd.iscsi.password=PASSWORD",
        "[    0.1] Kernel command line: BOOT_IMAGE=/v kvm_amd.sev=1 token=PASSWORD",
        '[    0.2] Unknown kernel command line parameters "SEV=PASSWORD iommu=on", '
        "will be passed to user space.",
        "[    0.2] Malformed early option 'iommu' on command line: x=PASSWORD",
    ],
)
def test_the_command_line_is_not_kept_with_the_log(line: str) -> None:
    wanted = "[    3.1] ccp 0000:22:00.1: sev enabled, SEV API:1.55 build:8"
    assert kernel_log.concerning(f"{line}\n{wanted}\nsystemd: up\n") == [wanted]


@pytest.mark.parametrize(
    "text", ["", "MemTotal: 1 kB\n", "MemAvailable: 1 kB\n", "MemTotal: 0 kB\n"]
)
def test_a_meminfo_without_memory_is_unknown(text: str) -> None:
    with pytest.raises(DetectionError):
        parsers.memory(text)


def test_a_kernel_without_huge_pages_tells_of_none() -> None:
    assert parsers.memory("MemTotal: 2 kB\nMemAvailable: 1 kB\n") == Memory(2, 1, 0)
