# SPDX-License-Identifier: Apache-2.0

"""Nova's own tests of SEV and of reported traits, with our driver swapped in.

With ``COMPUTE_DRIVER=libvirt.LibvirtDriver`` in the environment they run as they are.
"""

import builtins
import importlib
import importlib.util
import os
import pathlib
import types
import unittest
from typing import Any

import fixtures
import nova.virt.sev_driver
import novas
import pytest
from nova.virt.libvirt import host as libvirt_host
from with_driver import SEV_DRIVER, NovaTestCase, WithSEVDriver, show_host

from sev_driver.driver import SEVDriver
from sev_driver.host import files
from sev_driver.host.libvirt_connection import LibvirtReplyCache
from sev_driver.model import MemoryEncryptionModel

#: Which of them a release has differs; a module may be missing, but not all.
MODULES = (
    "nova.tests.functional.libvirt.test_amd_sev",
    "nova.tests.functional.libvirt.test_report_cpu_traits",
    "nova.tests.functional.regressions.test_bug_1928063",
)
PARAMETERS = "/sys/module/kvm_amd/parameters"
NO_FIRMWARE = pathlib.Path("/no firmware descriptors")
SLOT = "MEM_ENCRYPTION_CONTEXT"
KEEP = LibvirtReplyCache.__init__


class Parameters(fixtures.Fixture):  # type: ignore[misc]
    """What our code reads of kvm_amd, by the two functions Nova's tests stand in for.

    They do so for a while only: Nova reads it once, and ours again and again. So
    what it was then holds until they stand in for them again.
    """

    def setUp(self) -> None:
        super().setUp()
        self.told: dict[str, str] = {}
        self.read_here = files._read_attribute
        read = "sev_driver.host.files._read_attribute"
        self.useFixture(fixtures.MonkeyPatch(read, self.read))

    def read(self, path: str) -> bytes:
        folder, name = os.path.split(path)
        if folder != PARAMETERS:
            return self.read_here(path)
        # Whatever kind of mock it is.
        if hasattr(os.path.exists, "side_effect"):
            self.told.pop(path, None)
            if os.path.exists(path):
                with builtins.open(path) as file:
                    self.told[path] = file.read()
        answer = libvirt_host.Host.supports_amd_sev
        if name == "sev" and hasattr(answer, "return_value"):
            self.told[path] = "1\n"  # one of them stands in for the answer itself
        if path not in self.told:
            raise FileNotFoundError(path)
        return self.told[path].encode()


def ask_anew(kept: LibvirtReplyCache, connection: Any) -> None:
    """Keep what a connection's methods answer, also once a test stands in for them."""
    KEEP(kept, connection)
    # A proxy of Nova's green threads stands before it, where they run.
    behind = getattr(connection, "_obj", None)
    for name in ("getLibVersion", "getVersion") if behind else ():

        def ask(name: str = name) -> int:
            return int(getattr(behind, name)())

        setattr(connection, name, kept._caching(name, ask))


class ProveDriver(WithSEVDriver):
    """Every test that starts a compute ends with the proof that it ran ours."""

    def setUp(self) -> None:
        super().setUp()
        # Nova 34 does not start where it lost SEV; with us that is an option.
        self.flags(group="sev", require_support_at_start=True)
        self.addCleanup(lambda: self.assertEqual({SEVDriver}, self.driver_classes))


class OlderProveDriver(ProveDriver):
    """Up to Nova 33 its tests stand in for two functions, not for the host."""

    def _use_kvm_parameters(self) -> None:
        self.useFixture(Parameters())
        # And for a method of a connection that has long been made.
        patch = "sev_driver.host.libvirt_connection.LibvirtReplyCache.__init__"
        self.useFixture(fixtures.MonkeyPatch(patch, ask_anew))
        show_host(self, pathlib.Path(PARAMETERS), NO_FIRMWARE)

    def start_service(self, name: str, *args: Any, **kwargs: Any) -> Any:
        service = super().start_service(name, *args, **kwargs)
        if name == "compute":
            # Nova's driver asks while it starts, and these tests ask afterwards.
            for question in ("supports_amd_sev", "supports_amd_sev_es"):
                getattr(service.driver._host, question, None)
        return service


class OldestProveDriver(OlderProveDriver):
    """Up to Nova 31 its tests look for the slots on the host's own provider.

    Ours are on a child of it, as from Nova 32 on; so the answer is what both have.
    """

    def _child(self, uuid: str) -> str | None:
        symbol = MemoryEncryptionModel.AMD_SEV.symbol
        found: list[dict[str, Any]] = self._get_all_providers()
        host = next(p["name"] for p in found if p["uuid"] == uuid)
        name = f"{host}_{symbol}"
        return next((p["uuid"] for p in found if p["name"] == name), None)

    def _get_provider_inventory(self, rp_uuid: str) -> dict[str, Any]:
        own: dict[str, Any] = super()._get_provider_inventory(rp_uuid)
        self.assertNotIn(SLOT, own)
        child = self._child(rp_uuid)
        return own | (super()._get_provider_inventory(child) if child else {})

    def _get_provider_traits(self, rp_uuid: str) -> list[str]:
        own: list[str] = super()._get_provider_traits(rp_uuid)
        child = self._child(rp_uuid)
        return own + (super()._get_provider_traits(child) if child else [])


def ours() -> type:
    if novas.RELEASE >= 34:
        return ProveDriver
    return OlderProveDriver if novas.RELEASE >= 32 else OldestProveDriver


def modules() -> list[types.ModuleType]:
    """Return those of Nova's test modules that this release has."""
    return [
        importlib.import_module(name)
        for name in MODULES
        if importlib.util.find_spec(name) is not None
    ]


def test_cases() -> list[type]:
    """Return their classes that have tests."""
    return [
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, unittest.TestCase)
        and value.__module__ == module.__name__
        and unittest.defaultTestLoader.getTestCaseNames(value)
    ]


# One class of ours for each of Nova's, by the same name, for pytest to find.
_MIXIN = ours() if novas.COMPUTE_DRIVER == SEV_DRIVER else NovaTestCase
for _case in test_cases():
    globals()[_case.__name__] = type(_case.__name__, (_MIXIN, _case), {})
del _case


def test_there_are_as_many_classes_as_this_release_has() -> None:
    assert len(test_cases()) == (5 if novas.RELEASE >= 34 else 4)


@pytest.mark.skipif(novas.COMPUTE_DRIVER != SEV_DRIVER, reason="stock Nova was asked")
def test_nova_is_told_our_class_by_its_name_in_nova_conf() -> None:
    assert SEV_DRIVER == "sev_driver.SEVDriver"
    assert nova.virt.sev_driver.SEVDriver is SEVDriver
