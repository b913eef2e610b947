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
