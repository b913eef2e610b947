# SPDX-License-Identifier: Apache-2.0
"""/dev/sev: through it QEMU asks the secure processor, before it starts a guest."""

from __future__ import annotations

import os

from .platform import Platform


def obstacle(platform: Platform) -> str:
    """What QEMU says when it cannot open the device; empty when it can.

    It is opened indeed: who denies it to QEMU on a real host does so here.
    """
    try:
        os.close(os.open(platform.device, os.O_RDWR))
    except OSError as error:
        return f"Failed to open /dev/sev '{error.strerror}'"
    return ""
