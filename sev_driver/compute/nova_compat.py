# SPDX-License-Identifier: Apache-2.0

"""Patches of Nova, and all private names of Nova that this driver uses.

No other module determines the installed release or uses Nova's private names.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib.metadata
import inspect
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from nova import objects
from nova import utils as nova_utils
from nova.objects import fields, service
from nova.virt.libvirt import driver as libvirt_driver

from sev_driver import nova_release
from sev_driver.exceptions import ConfigurationError
from sev_driver.guest import model_selection
from sev_driver.model import ForeignModel, MemoryEncryptionModel
from sev_driver.nova_release import OLDEST_NOVA, NovaRelease


class PrivateName(NamedTuple):
    """A name of Nova that is not part of its interface for drivers.

    ``since`` and ``until`` are the first and the last release that has it; ``until`` is
    None if the newest release has it.
    """

    owner: str
    name: str
    since: int = OLDEST_NOVA
    until: int | None = None


#: The names that are called, replaced or overridden.
#: tests/unit/compute/test_private_names.py compares this table with the installed Nova
#: and with the driver's code.
PRIVATE_NAMES: Final = (
    PrivateName("LibvirtDriver", "_create_guest"),
    PrivateName("LibvirtDriver", "_get_guest_config"),
    PrivateName("LibvirtDriver", "_get_guest_xml"),
    PrivateName("LibvirtDriver", "_get_memory_encrypted_slots", until=31),
    PrivateName("LibvirtDriver", "_get_memory_encryption_inventories", since=32),
    PrivateName("LibvirtDriver", "_hard_reboot"),
    PrivateName("LibvirtDriver", "_host"),
    PrivateName(
        "LibvirtDriver", "_is_reshape_needed_memory_encryption_on_root", since=32
    ),
    PrivateName("LibvirtDriver", "_soft_reboot"),
    PrivateName("LibvirtDriver", "_validate_mem_encryption_configuration", since=34),
    PrivateName("Host", "_connection_closed", since=33),
    PrivateName("Host", "_wrapped_conn"),
    PrivateName("Host", "_wrapped_conn_lock"),
    PrivateName("Guest", "_domain"),
    PrivateName("ComputeVirtAPI", "_compute"),
    PrivateName("ComputeManager", "_get_rescue_image"),
)


@functools.cache
def installed_release() -> NovaRelease:
    """Return the installed release of Nova.

    A Nova built from a clone without tags has the version 0.0.1.dev… (pbr). Then the
    release is derived from its service version.
    """
    number = int(importlib.metadata.version("nova").partition(".")[0])
    if number == 0:
        number = nova_release.of_service_version(service.SERVICE_VERSION)
    models = getattr(fields, "MemEncryptionModel", None)
    return NovaRelease(number, frozenset(getattr(models, "ALL", ())))


def check_nova() -> None:
    """Check that the driver works with the installed Nova.

    :raises ConfigurationError: Nova is older than :data:`OLDEST_NOVA`.
    """
    if not installed_release().is_supported:
        version = importlib.metadata.version("nova")
        raise ConfigurationError(
            f"compute_driver = sev_driver.SEVDriver needs Nova {OLDEST_NOVA}.0.0 or "
            f"later, and this is Nova {version}: upgrade Nova, or set compute_driver "
            f"= libvirt.LibvirtDriver."
        )


def domain_of(guest: Any) -> Any:
    """Return libvirt's domain of ``guest``, which is Nova's Guest."""
    return guest._domain


def connection_of(nova_host: Any) -> Any:
    """Return the connection of Nova's libvirt Host, without testing it.

    Nova's getter tests the connection with each call. That is not necessary: Nova drops
    the connection when libvirt closes it.

    :raises nova.exception.HypervisorUnavailable: there is no connection, and libvirt
        cannot be reached.
    """
    connection = nova_host._wrapped_conn
    return nova_host.get_connection() if connection is None else connection


def compute_manager(virtapi: Any) -> Any:
    """Return the ComputeManager of the driver, None outside nova-compute.

    :param virtapi: Nova's ComputeVirtAPI.
    """
    return getattr(virtapi, "_compute", None)


def watch_rescue_images(
    manager: Any, check: Callable[[objects.Instance, objects.ImageMeta], None]
) -> None:
    """Have ``check`` called with a server and its rescue image, while its guest runs.

    Nova's driver is given the rescue image only when the guest is off, and an error
    then leaves the server in ERROR. One that ``check`` raises leaves it ACTIVE.

    :param manager: Nova's ComputeManager.
    """
    get_rescue_image = manager._get_rescue_image

    @functools.wraps(get_rescue_image)
    def get_and_check(
        context: Any, instance: objects.Instance, *args: Any, **kwargs: Any
    ) -> objects.ImageMeta:
        image = get_rescue_image(context, instance, *args, **kwargs)
        check(instance, image)
        return image

    manager._get_rescue_image = get_and_check


def tolerate_unknown_image_models() -> None:
    """Patch Nova to read instances whose image names an unknown model.

    When nova-compute starts, it reads the image of each of its instances. If it does
    not know the image's ``hw_mem_encryption_model``, it fails with a ValueError. Such
    servers come from Nova 31, which stores any value, or from a newer Nova. The patch
    leaves the property out. This driver reads it from the instance's system_metadata.

    The patch is applied once only.
    """
    known = installed_release().models
    original = objects.ImageMeta.from_instance
    if not known or hasattr(original, "_sev_driver"):
        return

    def from_instance(cls: Any, instance: objects.Instance) -> objects.ImageMeta:
        try:
            return original(instance)
        except ValueError:
            metadata = nova_utils.instance_sys_meta(instance)
            if metadata.get(_IMAGE_MODEL) in (None, *known):
                raise
        readable = objects.Instance(
            image_ref=instance.image_ref if "image_ref" in instance else None,
            system_metadata={k: v for k, v in metadata.items() if k != _IMAGE_MODEL},
        )
        return original(readable)

    from_instance._sev_driver = True  # type: ignore[attr-defined]
    objects.ImageMeta.from_instance = classmethod(from_instance)


_IMAGE_MODEL: Final = f"image_{model_selection.IMAGE_MODEL_KEY}"


class _EncryptedGuest(NamedTuple):
    model: MemoryEncryptionModel
    encrypt: Callable[[Any], None]


#: The guest whose XML is being created in this thread, if it is to be encrypted.
_making: contextvars.ContextVar[_EncryptedGuest | None] = contextvars.ContextVar(
    "_making", default=None
)


@contextlib.contextmanager
def making(
    model: MemoryEncryptionModel, encrypt: Callable[[Any], None]
) -> Iterator[None]:
    """Have Nova create the XML of an encrypted guest within this context.

    Nova selects a guest firmware for ``model``.

    :param encrypt: changes the ``<domain>`` element, before Nova renders it.
    """
    token = _making.set(_EncryptedGuest(model, encrypt))
    try:
        yield
    finally:
        _making.reset(token)


def change_domain(config: Any) -> Any:
    """Return Nova's LibvirtConfigGuest, whose domain is encrypted within ``making``."""
    guest = _making.get()
    if guest is not None:
        format_dom = config.format_dom

        def format_encrypted() -> Any:
            domain = format_dom()
            guest.encrypt(domain)
            return domain

        config.format_dom = format_encrypted
    return config


def patch_firmware_selection(nova_host: Any) -> None:
    """Patch Nova 32 and older to select a suitable firmware for encrypted guests.

    Without the patch, Nova takes the first descriptor that is not for Secure Boot. Nova
    27 to 29 fail with a KeyError if a descriptor has no file for variables, such as
    that of the guest firmware for SEV only (bugs 2122288 and 2133416). The selection
    for plain guests does not change.

    :param nova_host: Nova's libvirt Host.
    """
    release = installed_release()
    if not release.selects_firmware:
        return
    choose = nova_host.get_loader

    def get_loader(arch: str, machine: str, has_secure_boot: bool) -> Any:
        guest = _making.get()
        if guest is None:
            return choose(arch, machine, has_secure_boot)
        if release.ignores_model_in_firmware_selection(guest.model):
            return "", "", False  # libvirt selects it.
        usable = (x for x in nova_host.loaders if "nvram-template" in x["mapping"])
        feature = guest.model.firmware_feature
        host = types.SimpleNamespace(
            loaders=sorted(usable, key=lambda x: feature not in x["features"]),
            get_canonical_machine_type=nova_host.get_canonical_machine_type,
        )
        return type(nova_host).get_loader(host, arch, machine, has_secure_boot)

    nova_host.get_loader = get_loader


def preserve_firmware(old_guest: Any) -> None:
    """Make Nova keep the guest firmware with which the guest was first started.

    Nova 33 and later reads the existing domain as ``old_guest``, and selects a firmware
    again if ``loader/@secure`` has changed. libvirt omits that attribute if a firmware
    feature has the same meaning, as in this driver's XML. Nova 33 does not read the
    features, and takes a missing attribute for no Secure Boot.
    """
    if old_guest is None or not old_guest.os_loader:
        return
    if old_guest.os_loader_secure is None:
        secure = getattr(old_guest, "os_firmware_secure", None)
        old_guest.os_loader_secure = bool(secure)


def supports_foreign_model(nova_host: Any, model: ForeignModel) -> bool:
    """Return whether Nova supports a model of another vendor on this host.

    :param nova_host: Nova's libvirt Host, which caches the result.
    """
    return bool(getattr(nova_host, f"supports_{model.symbol}", False))


def arguments(
    method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call to Nova's libvirt driver, by name.

    In Nova 31 and later, some methods have a ``share_info`` in the middle.

    :param args: the positional arguments without ``self``.
    :param kwargs: the keyword arguments. Without any arguments, the result is empty.
    """
    if not args and not kwargs:
        return {}
    bound = _signature(method).bind(None, *args, **kwargs)
    return dict(bound.arguments)


#: As Nova defines them; the driver needs the signatures of few.
_METHODS: Final = dict(
    inspect.getmembers(libvirt_driver.LibvirtDriver, inspect.isfunction)
)


@functools.cache
def _signature(method: str) -> inspect.Signature:
    return inspect.signature(_METHODS[method])


#: The node's name, and the allocations that Nova has read of it in this thread.
_read_allocations: contextvars.ContextVar[tuple[str, Any] | None] = (
    contextvars.ContextVar("_read_allocations", default=None)
)


def keep_allocations(client: Any) -> None:
    """Patch Nova's client of Placement to keep what Nova reads before an update.

    Before each update of a provider tree, Nova reads the allocations of all providers
    in it, and passes them to the driver only for a reshape.

    The patch is applied once only.

    :param client: Nova's SchedulerReportClient.
    """
    read = client.get_allocations_for_provider_tree
    if hasattr(read, "_sev_driver"):
        return

    def read_and_keep(context: Any, nodename: str) -> Any:
        found = read(context, nodename)
        _read_allocations.set((nodename, found))
        return found

    read_and_keep._sev_driver = True  # type: ignore[attr-defined]
    client.get_allocations_for_provider_tree = read_and_keep


def take_allocations(nodename: str) -> Any:
    """Return the allocations that Nova has just read for an update, only once.

    :return: as Nova passes them for a reshape; None if Nova has read none.
    """
    kept = _read_allocations.get()
    _read_allocations.set(None)
    return kept[1] if kept is not None and kept[0] == nodename else None


class Provider(NamedTuple):
    """A resource provider in Nova's tree, at one moment.

    Nova replaces inventory and traits, and never changes them in place.
    """

    name: str
    uuid: str
    generation: int | None
    inventory: dict[str, dict[str, Any]]
    traits: set[str]


def providers_under(tree: Any, node: str) -> dict[str, Provider]:
    """Return a host's root provider and its children, by name; empty without a root.

    Nova's own getter copies all of a provider with each call, which takes longer than
    everything else in an update.

    :param tree: Nova's ProviderTree. Only the caller uses it.
    :param node: the name of the root provider.
    """
    root = tree.roots_by_name.get(node)
    found = () if root is None else (root, *root.children.values())
    return {
        each.name: Provider(
            each.name, each.uuid, each.generation, each.inventory, each.traits
        )
        for each in found
    }


def reported_models(nova_host: Any) -> dict[str, dict[str, Any]]:
    """Return the models that Nova 34 and later detects, by ``model.symbol``.

    Nova's detection raises a TypeError if SEV-SNP is enabled and libvirt is older than
    8.0, which lists no types of launchSecurity. The result is then empty: a host with
    SEV has no models of other vendors.

    :param nova_host: Nova's libvirt Host.
    :raises TypeError: Nova's detection fails on a host without SEV.
    """
    read = getattr(nova_host, "get_mem_encryption_inventories", dict)
    try:
        found: dict[str, dict[str, Any]] = read()
    except TypeError:
        if not nova_host.supports_amd_sev:
            raise
        return {}
    return found


def patch_reconnection(nova_host: Any) -> None:
    """Patch Nova to prevent a deadlock of nova-compute when libvirtd restarts.

    With native threads, Nova holds a lock while it tests its connection. If libvirt
    finds the connection closed during the test, its callback waits for the same lock in
    the same thread. Up to Nova 32, the callback only puts the event into a queue.

    :param nova_host: Nova's libvirt Host, before its first connection.
    """
    if hasattr(nova_host, "_connection_closed"):
        nova_host._wrapped_conn_lock = threading.RLock()
