# SPDX-License-Identifier: Apache-2.0
"""What /proc/cpuinfo says on an AMD EPYC, as far as memory encryption goes."""

from __future__ import annotations

import re

from devcloud.simhost.settings import HostSettings

#: In the order of the kernel's: arch/x86/include/asm/cpufeatures.h.
_FLAGS = ("sme", "sev", "sev_es", "sev_snp")
#: Of a virtual machine, which the host is not.
_HYPERVISOR = "hypervisor"
_VENDOR = re.compile(r"^(vendor_id\s*:).*$", re.MULTILINE)
_FLAG_LINE = re.compile(r"^(flags\s*:)(.*)$", re.MULTILINE)


def cpuinfo(machines: str, settings: HostSettings) -> str:
    """This machine's processors, with the flags of the host's.

    With SMEE off in the firmware set-up the kernel clears all of them. Without
    ASIDs for SEV-ES they stay: the flags are the processor's.
    """
    flags = _FLAGS if settings.smee else ()

    def with_ours(line: re.Match[str]) -> str:
        others = [x for x in line[2].split() if x not in (*_FLAGS, _HYPERVISOR)]
        return " ".join([line[1], *others, *flags])

    text = _VENDOR.sub(r"\1 AuthenticAMD", machines)
    return _FLAG_LINE.sub(with_ours, text)
