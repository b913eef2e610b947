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

import contextlib
import contextvars
import functools
import importlib.metadata
import threading
import types
from collections.abc import Iterator
from typing import Any, Final

from nova.objects import fields

from sev_driver import asked, firmware
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


def other_models() -> frozenset[str]:
    """Return the models that Nova runs and that are none of ours, as 34 intel-tdx."""
    models = getattr(fields, "MemEncryptionModel", None)
    ours = {model.value for model in MemoryEncryptionModel}
    return frozenset(getattr(models, "ALL", ())) - ours


def rules() -> asked.Release:
    """Return what of this Nova decides what a guest gets."""
    return asked.Release(scheduler_chooses_model(), other_models())


def selects_no_firmware_for(model: MemoryEncryptionModel) -> bool:
    """Whether Nova names a firmware itself, without a look at what ``model`` needs.

    Up to 32 it takes the first descriptor that fits Secure Boot or its absence:
    good enough for SEV. From 33.0.0 on libvirt selects.
    """
    return nova_release() < 33 and model is not MemoryEncryptionModel.AMD_SEV


#: The model of the guest whose XML is being made, in this thread.
_making: contextvars.ContextVar[MemoryEncryptionModel | None] = contextvars.ContextVar(
    "_making", default=None
)


@contextlib.contextmanager
def firmware_for(model: MemoryEncryptionModel) -> Iterator[None]:
    """Have Nova's choice of a firmware be one for a guest of ``model``."""
    token = _making.set(model)
    try:
        yield
    finally:
        _making.reset(token)


def mend_firmware_choice(nova_host: Any) -> None:
    """Have Nova 32 and older choose for an encrypted guest what fits it, if it can.

    Left alone it takes the first descriptor that is not for Secure Boot, and in 27
    to 29 ends with a KeyError at one without flash for variables, as that of the
    firmware for SEV alone (bugs 2122288 and 2133416). For plain guests it does so
    as ever.

    :param nova_host: Nova's libvirt Host.
    """
    if nova_release() >= 33:
        return
    choose = nova_host.get_loader

    def get_loader(arch: str, machine: str, has_secure_boot: bool) -> Any:
        model = _making.get()
        if model is None:
            return choose(arch, machine, has_secure_boot)
        if selects_no_firmware_for(model):
            return "", "", False  # libvirt selects, see domain.select_firmware
        usable = (x for x in nova_host.loaders if "nvram-template" in x["mapping"])
        feature = firmware.FEATURES[model]
        host = types.SimpleNamespace(
            loaders=sorted(usable, key=lambda x: feature not in x["features"]),
            get_canonical_machine_type=nova_host.get_canonical_machine_type,
        )
        return type(nova_host).get_loader(host, arch, machine, has_secure_boot)

    nova_host.get_loader = get_loader


def keep_firmware(old_guest: Any) -> None:
    """Have Nova keep the firmware with which the guest was first started.

    Nova 33 and later reads the existing domain as ``old_guest`` and selects
    anew if its ``loader/@secure`` has changed. libvirt leaves that attribute out
    where a firmware feature says the same, as in our XML: no change. Nova 33 does
    not read the features, and so takes what is left out for no Secure Boot.
    """
    if old_guest is None or not old_guest.os_loader:
        return
    if old_guest.os_loader_secure is None:
        secure = getattr(old_guest, "os_firmware_secure", None)
        old_guest.os_loader_secure = bool(secure)


def reported_models(nova_host: Any) -> dict[str, dict[str, Any]]:
    """Return what Nova finds of models by itself, by their symbols; 33 and older: none.

    Its method formats numbers that libvirt older than 8.0 does not give, and fails:
    on hosts of AMD, which have no others to report.

    :param nova_host: Nova's libvirt Host.
    """
    read = getattr(nova_host, "get_mem_encryption_inventories", dict)
    try:
        found: dict[str, dict[str, Any]] = read()
    except TypeError:
        # SEV-SNP is on and libvirt names no type of launchSecurity.
        return {}
    return found


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
