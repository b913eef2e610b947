# SPDX-License-Identifier: Apache-2.0

"""Find messages about SEV in the kernel's log.

Messages of drivers/crypto/ccp, arch/x86/virt/svm, drivers/iommu/amd and arch/x86/kvm,
in the words of Linux 4.16 to 6.18.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sev_driver.exceptions import printable
from sev_driver.model import SEV_SNP, MemoryEncryptionModel

#: Lines of the log that concern SEV.
_CONCERNS = re.compile(r"\b(SEV|SNP|SME|RMP|ccp|PSP|AMD-Vi|iommu|kvm_amd)\b|/dev/sev\b")
#: Lines that hold the kernel's command line or parts of it.
_TELLS_COMMAND_LINE = re.compile(r"command line|kernel parameters?\b", re.IGNORECASE)

#: The time at the beginning of a line.
_TIME = re.compile(r"^(<\d{1,3}>)?\[ {0,20}[\d.]{1,20}\] ", re.ASCII)

#: Lines of the secure processor's driver, and of what is built on it.
_OF_THE_PSP = re.compile(r"\bccp \S{1,20}:|\b(SEV|SEV-SNP|psp|ccp): ", re.ASCII)
_PSP_FAILURE = re.compile(
    r"failed to INIT|disabling PSP|command \S{1,12} timed out|failed to get status"
)
#: With this line ccp begins with a device.
_PROBE = re.compile(r"\bccp \S{1,20}: sev enabled")
#: With this line the secure processor has answered, though INIT may have failed.
_API = re.compile(r"\bSEV(?:-SNP)? API[: ](\d{1,3})\.(\d{1,3})\b", re.ASCII)

_ERROR = re.compile(
    r"fail|error|unable|timed out|disabling|cannot|can't|could not|invalid"
    r"|not enabled|unavailable|not supported|too many",
    re.IGNORECASE,
)
#: What looks like an error on hosts that are well: optional SEV firmware that is not
#: installed, and an unused part of ccp.
_HARMLESS = re.compile(
    r"firmware load for|failed to load amd/|no command queues"
    r"|ccp initialization failed|does not support|missing ring|kvm_amd"
)
_SNP_REFUSAL = re.compile(
    r"(SNP|RMP).*(cannot be supported|can't be|not supported|not been reserved"
    r"|not enabled|fail|unable|does not cover|insufficient|disabled)",
    re.IGNORECASE,
)

#: The most of a line that is quoted: it must fit into a message.
_QUOTED = 160


def concerning(log: str) -> list[str]:
    """Return the lines of the kernel's log that concern SEV.

    Lines with the kernel's command line are omitted: it can contain passwords.
    """
    return [
        line
        for line in log.splitlines()
        if _CONCERNS.search(line) and not _TELLS_COMMAND_LINE.search(line)
    ]


def quote(line: str) -> str:
    """Return a line in printable form, without its time."""
    return printable(_TIME.sub("", line).strip(), _QUOTED)


def psp_failure(lines: Iterable[str], model: MemoryEncryptionModel) -> str | None:
    """Return the line that says that the secure processor failed, None if it works.

    The kernel prints the API's version after INIT, older kernels even if INIT failed.
    So the secure processor works if no failure precedes the last such line.
    """
    failure: str | None = None
    has_failed = is_closed = False
    for line in lines:
        if _API.search(line):
            # Of the two lines of SEV and of SEV-SNP, the first stands for both.
            if not has_failed and not is_closed:
                failure = None
            has_failed, is_closed = False, True
        elif _PROBE.search(line):
            has_failed = is_closed = False
        elif _OF_THE_PSP.search(line):
            is_closed = False
            if _PSP_FAILURE.search(line) and ("SNP" not in line or model is SEV_SNP):
                failure, has_failed = failure or quote(line), True
    return failure


def psp_errors(lines: Iterable[str]) -> list[str]:
    """Return each line of the secure processor's driver that looks like an error."""
    return [
        quote(line)
        for line in lines
        if _OF_THE_PSP.search(line)
        and _ERROR.search(line)
        and not _HARMLESS.search(line)
    ]


def snp_refusal(lines: Iterable[str]) -> str | None:
    """Return the line that says why the kernel does not enable SEV-SNP."""
    for line in lines:
        is_other = _HARMLESS.search(line) or _PSP_FAILURE.search(line)
        if _SNP_REFUSAL.search(line) and not is_other:
            return quote(line)
    return None


def sev_api(lines: Iterable[str]) -> tuple[int, int] | None:
    """Return the version of the SEV firmware's API, None if the log has none."""
    found = None
    for line in lines:
        match = _API.search(line)
        if match is not None:
            found = int(match[1]), int(match[2])
    return found
