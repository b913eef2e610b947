# SPDX-License-Identifier: Apache-2.0

"""nova_compat: which Nova this driver works with, and what is patched in it."""

import importlib.metadata
import threading
import types
from collections.abc import Callable, Iterator

import libvirt
import nova_instances
import pytest
from lxml import etree
from nova.objects import service
from nova.virt.libvirt import config as nova_config
from nova.virt.libvirt import host as nova_host

from sev_driver import nova_release
from sev_driver.compute import nova_compat
from sev_driver.exceptions import ConfigurationError
from sev_driver.model import MemoryEncryptionModel


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    yield
    nova_compat.installed_release.cache_clear()


def installed(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    nova_compat.installed_release.cache_clear()


@pytest.mark.parametrize("version", ["27.0.0", "34.1.2", "35.0.0.0rc1", "27.5.1.dev7"])
def test_this_nova_will_do(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    installed(monkeypatch, version)
    nova_compat.check_nova()


@pytest.mark.parametrize(
    ("service_version", "number"),
    [(66, 28), (67, 30), (68, 31), (69, 32), (70, 32), (72, 33), (74, 34), (80, 34)],
)
def test_nova_from_a_clone_without_tags_is_known_by_its_service_version(
    monkeypatch: pytest.MonkeyPatch, service_version: int, number: int
) -> None:
    monkeypatch.setattr(service, "SERVICE_VERSION", service_version)
    installed(monkeypatch, "0.0.1.dev45123")
    nova_compat.check_nova()
    assert nova_compat.installed_release().number == number


def test_nova_from_an_old_clone_without_tags_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "SERVICE_VERSION", 64)
    installed(monkeypatch, "0.0.1.dev45123")
    with pytest.raises(ConfigurationError, match="this is Nova 0"):
        nova_compat.check_nova()


def test_service_version_of_this_nova_is_known() -> None:
    """As the newest release is tagged: later ones come with a row of their own."""
    number = nova_compat.installed_release().number
    known = nova_release.of_service_version(service.SERVICE_VERSION)
    assert known in (number, number + 1)


@pytest.mark.parametrize("version", ["20.6.1", "26.3.0"])
def test_an_older_nova_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    installed(monkeypatch, version)
    with pytest.raises(ConfigurationError, match=f"this is Nova {version}"):
        nova_compat.check_nova()


class ClosedConnection:
    """One whose next use finds that libvirtd is gone, and calls back at once."""

    def __init__(self, host: nova_host.Host) -> None:
        self.host = host

    def getLibVersion(self) -> int:
        self.host._connection_closed(self, False, "end of file")
        error = libvirt.libvirtError("client socket is closed")
        error.err = (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC, *[None] * 7)
        raise error


@pytest.mark.skipif(
    not hasattr(nova_host.Host, "_connection_closed"),
    reason="this Nova's callback only queues the event",
)
def test_a_connection_that_closes_under_novas_eyes_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = nova_host.Host("qemu:///system")
    nova_compat.patch_reconnection(host)
    host._wrapped_conn = ClosedConnection(host)
    monkeypatch.setattr(host, "_get_new_connection", lambda: "a new one")
    found: list[object] = []
    look = threading.Thread(
        target=lambda: found.append(host._get_connection()), daemon=True
    )

    look.start()
    look.join(5)

    assert found == ["a new one"]


def loader(name: str, *features: str, template: bool = True) -> dict[str, object]:
    """A firmware descriptor, as Nova 32 and older reads them."""
    mapping: dict[str, object] = {"executable": {"filename": name}}
    if template:
        mapping["nvram-template"] = {"filename": f"{name}.vars"}
    target = {"architecture": "x86_64", "machines": ["pc-q35-*"]}
    return {"mapping": mapping, "targets": [target], "features": list(features)}


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[object]], str]:
    """Return Nova's choice among descriptors."""
    if not hasattr(nova_host.Host, "get_loader"):
        pytest.skip("in this Nova, libvirt selects the firmware")
    host = nova_host.Host("qemu:///system")
    monkeypatch.setattr(host, "get_canonical_machine_type", lambda *args: "pc-q35-9.1")
    nova_compat.patch_firmware_selection(host)

    def choice(loaders: list[object]) -> str:
        monkeypatch.setattr(host, "_loaders", loaders)
        return str(host.get_loader("x86_64", "q35", has_secure_boot=False)[0])

    return choice


DESCRIPTORS = [
    loader("sev-alone.fd", "amd-sev", template=False),
    loader("secure.fd", "secure-boot", "requires-smm", "amd-sev"),
    loader("plain.fd"),
    loader("fit.fd", "amd-sev"),
]


def unused(domain: etree._Element) -> None:
    raise AssertionError("Nova makes no XML here")


def test_nova_chooses_a_firmware_that_says_it_is_for_sev(
    choose: Callable[[list[object]], str],
) -> None:
    with nova_compat.making(MemoryEncryptionModel.AMD_SEV, unused):
        assert choose(list(DESCRIPTORS)) == "fit.fd"


def test_where_none_says_so_it_chooses_as_ever(
    choose: Callable[[list[object]], str],
) -> None:
    with nova_compat.making(MemoryEncryptionModel.AMD_SEV, unused):
        assert choose(DESCRIPTORS[:3]) == "plain.fd"


def test_a_plain_guests_firmware_is_novas_choice(
    choose: Callable[[list[object]], str],
) -> None:
    assert choose(DESCRIPTORS[1:]) == "plain.fd"


def test_nova_names_no_firmware_for_the_other_generations(
    choose: Callable[[list[object]], str],
) -> None:
    with nova_compat.making(MemoryEncryptionModel.AMD_SEV_SNP, unused):
        assert choose([]) == ""


def name_it(domain: etree._Element) -> None:
    domain.set("type", "kvm")


def test_domain_of_an_encrypted_guest_is_changed_before_nova_renders_it() -> None:
    with nova_compat.making(MemoryEncryptionModel.AMD_SEV, name_it):
        config = nova_compat.change_domain(
            nova_config.LibvirtConfigObject(root_name="domain")
        )
    assert etree.fromstring(config.to_xml()).get("type") == "kvm"


def test_domain_of_a_plain_guest_is_not_changed() -> None:
    with nova_compat.making(MemoryEncryptionModel.AMD_SEV, name_it):
        pass
    config = nova_compat.change_domain(
        nova_config.LibvirtConfigObject(root_name="domain")
    )
    assert (
        config.to_xml() == nova_config.LibvirtConfigObject(root_name="domain").to_xml()
    )


@pytest.mark.skipif(
    not nova_compat.installed_release().models, reason="Nova ignores the property"
)
def test_instance_of_an_unknown_model_is_read_without_it() -> None:
    nova_compat.tolerate_unknown_image_models()
    nova_compat.tolerate_unknown_image_models()  # once more changes nothing
    unknown = nova_instances.instance(
        hw_mem_encryption_model="amd-sev-future", hw_disk_bus="sata"
    )
    image = unknown.image_meta
    assert not image.properties.obj_attr_is_set("hw_mem_encryption_model")
    assert (image.id, image.properties.hw_disk_bus) == (nova_instances.UUID, "sata")
    known = nova_instances.instance(hw_mem_encryption_model="amd-sev-es").image_meta
    assert known.properties.hw_mem_encryption_model == "amd-sev-es"
    with pytest.raises(ValueError, match="no-such-bus"):
        _ = nova_instances.instance(hw_disk_bus="no-such-bus").image_meta


def detecting_host(*, has_sev: bool) -> types.SimpleNamespace:
    """Nova's Host, whose detection of models fails."""

    def fail() -> None:
        raise TypeError("argument of type 'NoneType' is not iterable")

    return types.SimpleNamespace(
        get_mem_encryption_inventories=fail, supports_amd_sev=has_sev
    )


def test_reported_models_of_a_host_with_sev_are_none_where_nova_fails() -> None:
    assert nova_compat.reported_models(detecting_host(has_sev=True)) == {}


def test_reported_models_of_another_host_do_not_hide_a_fault_of_nova() -> None:
    with pytest.raises(TypeError):
        nova_compat.reported_models(detecting_host(has_sev=False))
