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

"""How Nova releases differ. No other module asks which Nova this is."""

from __future__ import annotations

import functools
import importlib.metadata
import threading
from typing import Any, Final

from sev_driver.exceptions import ConfigurationError
from sev_driver.model import MemoryEncryptionModel

#: Nova 27.0.0 is 2023.1.
OLDEST_NOVA: Final = 27


@functools.cache
def nova_release() -> int:
    """Return the number of Nova's series: 34 is 2026.2, 27 is 2023.1."""
    return int(importlib.metadata.version("nova").partition(".")[0])


def check_nova() -> None:
    """Refuse a Nova that this driver was not made for.

    :raises ConfigurationError: Nova is older than :data:`OLDEST_NOVA`.
    """
    if nova_release() < OLDEST_NOVA:
        version = importlib.metadata.version("nova")
        raise ConfigurationError(
            f"compute_driver = sev_driver.SEVDriver needs Nova {OLDEST_NOVA}.0.0 or "
            f"later, and this is Nova {version}: upgrade Nova, or set compute_driver "
            f"= libvirt.LibvirtDriver."
        )


def scheduler_chooses_model() -> bool:
    """Whether Nova asks Placement for a generation, SEV where none is named.

    Since 32.0.0 it does; before that it asks for a slot of any.
    """
    return nova_release() >= 32


def selects_no_firmware_for(model: MemoryEncryptionModel) -> bool:
    """Whether Nova names a firmware itself, without a look at what ``model`` needs.

    Up to 31 it takes the first descriptor that fits Secure Boot or its absence:
    good enough for SEV. From 32.0.0 on libvirt selects.
    """
    return nova_release() < 32 and model is not MemoryEncryptionModel.AMD_SEV


def mend_reconnection(nova_host: Any) -> None:
    """Keep nova-compute from locking itself out when libvirtd restarts.

    On native threads, Nova's look at its connection holds a lock, and libvirt may
    find the connection closed during that look: its callback, in the same thread,
    then waits for that lock for ever, and with it all that nova-compute does.

    Up to Nova 32 the callback only puts the event into a queue: nothing to mend.

    :param nova_host: Nova's libvirt Host, before its first connection.
    """
    if hasattr(nova_host, "_connection_closed"):
        nova_host._wrapped_conn_lock = threading.RLock()
