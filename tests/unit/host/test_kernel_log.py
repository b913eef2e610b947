# SPDX-License-Identifier: Apache-2.0
"""kernel_log: what its lines say of the secure processor and of SEV-SNP."""

import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.host import kernel, kernel_log
from sev_driver.model import SEV, SEV_SNP, MemoryEncryptionModel

CCP = "[   11.3] ccp 0000:25:00.1: "
SNP_FAILED = CCP + "SEV-SNP: failed to INIT rc -5, error 0x3"
SEV_FAILED = CCP + "SEV: failed to INIT error 0x1, rc -5"
API = CCP + "SEV API:1.55 build:12"
SNP_API = CCP + "SEV-SNP API:1.55 build:12"
DEAD = CCP + "sev command 0x4 timed out, disabling PSP"


@pytest.mark.parametrize(
    ("lines", "model", "words"),
    [
        ([], SEV, None),
        ([API, SNP_API], SEV_SNP, None),
        # Older kernels print the API whether INIT has failed or not.
        ([SEV_FAILED, API], SEV, "error 0x1"),
        ([SEV_FAILED, API, SNP_API], SEV, "error 0x1"),
        ([SNP_FAILED, API], SEV, None),
        ([SNP_FAILED, API], SEV_SNP, "error 0x3"),
        ([SNP_FAILED, SEV_FAILED, API], SEV, "error 0x1"),
        # The module was loaded again, or INIT was tried again.
        ([SEV_FAILED, API, CCP + "sev enabled", API, SNP_API], SEV, None),
        ([SEV_FAILED, CCP + "sev enabled", SEV_FAILED, API], SEV, "error 0x1"),
        ([API, SNP_API, DEAD], SEV, "disabling PSP"),
        ([API, DEAD, CCP + "sev enabled", API], SEV_SNP, None),
        ([CCP + "SEV: failed to get status. Error: 0x8003"], SEV, "0x8003"),
        # An unused part of ccp, and SEV firmware that is not installed.
        ([CCP + "no command queues available"], SEV, None),
        ([CCP + "ccp initialization failed", API], SEV, None),
        ([CCP + "firmware: failed to load amd/sev.fw (-2)", API], SEV, None),
        # A second secure processor, which is not used.
        (["ccp 0000:a2:00.1: psp: unable to access the device", API], SEV, None),
        (["ccp 0000:a2:00.1: psp does not support SEV", API], SEV, None),
        # Lines of other drivers.
        (["nvme 0000:01:00.0: I/O 5 timed out"], SEV, None),
    ],
)
def test_a_failure_of_the_secure_processor(
    lines: list[str], model: MemoryEncryptionModel, words: str | None
) -> None:
    found = kernel_log.psp_failure(lines, model)
    assert (found is None) == (words is None)
    if words:
        assert words in (found or "")
        assert not (found or "").startswith("[")


@pytest.mark.parametrize(
    "line",
    [
        "SEV-SNP: Memory for the RMP table has not been reserved by BIOS",
        "SEV-SNP: RMP initialization failed, SNP cannot be supported",
        "AMD-Vi: SNP: IOMMU SNP feature not enabled, SNP cannot be supported.",
        "AMD-Vi: SNP: IOMMU is configured with V2 page table mode, SNP cannot be "
        "supported.",
        "AMD-Vi: SEV-SNP: IOMMU is either disabled or configured in passthrough mode.",
        "SEV-SNP: Memory reserved for the RMP table does not cover full system RAM",
        "SEV-SNP: a reason of a future kernel, SNP cannot be supported",
    ],
)
def test_a_reason_why_there_is_no_snp_is_found(line: str) -> None:
    lines = ["[    1.2] AMD-Vi: IOMMU SNP support enabled.", f"[    1.3] {line}"]
    assert kernel_log.snp_refusal(lines) == line


@pytest.mark.parametrize(
    "line",
    [
        "AMD-Vi: IOMMU SNP support enabled.",
        "kvm_amd: SEV-SNP disabled (ASIDs 0 - 0)",
        "SEV-SNP: RMP table physical range [0x1 - 0x2]",
        SNP_FAILED,
    ],
)
def test_no_other_line_is_taken_for_it(line: str) -> None:
    assert kernel_log.snp_refusal([line]) is None


def test_the_last_version_of_the_api_counts() -> None:
    assert kernel_log.sev_api([API, CCP + "SEV API:1.58 build:1"]) == (1, 58)
    assert kernel_log.sev_api([SEV_FAILED]) is None


@given(st.lists(st.text()), st.sampled_from(MemoryEncryptionModel))
def test_any_lines_have_an_answer(
    lines: list[str], model: MemoryEncryptionModel
) -> None:
    for found in (
        kernel_log.psp_failure(lines, model),
        kernel_log.snp_refusal(lines),
        *kernel_log.psp_errors(lines),
    ):
        assert found is None or "\n" not in found
    kernel_log.sev_api(lines)


RECORDS = """\
6,339,5140900,-;pci 0000:00:00.0: hello
6,340,5140901,-;ccp 0000:42:00.1: SEV API:1.55 build:21
 SUBSYSTEM=pci
 DEVICE=+pci:0000:42:00.1
3,341,9001500000,c;ccp 0000:42:00.1: sev command 0x4 timed out, disabling PSP
nonsense
"""


def test_the_log_is_read_as_dmesg_prints_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "kmsg"
    log.write_text(RECORDS)
    monkeypatch.setattr(kernel, "KERNEL_LOG", log)
    assert kernel.read_kernel_log() == (
        "[    5.140901] ccp 0000:42:00.1: SEV API:1.55 build:21",
        "[ 9001.500000] ccp 0000:42:00.1: sev command 0x4 timed out, disabling PSP",
    )
    assert "disabling PSP" in (kernel.read_psp_failure() or "")


def test_the_end_of_the_log_is_not_waited_for(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under eventlet, as in Nova 33 and older, os.read waits until there is more."""

    def wait_for_more(*arguments: object) -> bytes:
        raise AssertionError("eventlet's os.read was called")

    log = tmp_path / "kmsg"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(log, os.O_WRONLY)
    try:
        os.write(writer, RECORDS.encode())
        monkeypatch.setattr(kernel, "KERNEL_LOG", log)
        monkeypatch.setattr(os, "read", wait_for_more)
        assert len(kernel.read_kernel_log()) == 2
    finally:
        os.close(reader)
        os.close(writer)


def test_a_log_that_is_closed_to_this_user_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "open", refuse)
    assert kernel.read_psp_failure() is None
    with pytest.raises(PermissionError):
        kernel.read_kernel_log()
