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

"""Between Nova's objects and ours: requests in, errors out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nova import exception as nova_exception
from nova import objects
from nova.conf import CONF
from nova.network import model as network_model
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging
from oslo_utils import strutils

from sev_driver.exceptions import RequirementsNotMet, SevDriverError
from sev_driver.model import MemoryEncryptionModel
from sev_driver.requirements import MACHINE_TYPE, Fault, GuestRequest, Setting

LOG = logging.getLogger(__name__)

#: PCI passthrough and vGPU; a numbered group asks like the unnumbered one.
_PASSTHROUGH_KEY = re.compile(r"pci_passthrough:alias|resources\w*:(VGPU|PGPU)")


def guest_request(instance: objects.Instance) -> GuestRequest | None:
    """Return what ``instance`` asks for, None if that is not encryption by SEV.

    Rests on the instance's own flavor and image: the image that a caller holds
    may be a rescue image, which has no say in this.
    """
    return request_with(instance.flavor, instance)


def request_with(
    flavor: objects.Flavor, instance: objects.Instance
) -> GuestRequest | None:
    """Return what ``instance`` would ask for if it had ``flavor``."""
    if not (
        "hw:mem_encryption" in flavor.extra_specs
        or "image_hw_mem_encryption" in instance.system_metadata
    ):
        return None  # Plain guests pay for no more than this.
    image = instance.image_meta
    flavor_key = f"hw:mem_encryption of flavor {flavor.name}"
    image_key = f"hw_mem_encryption of {_image_name(image)}"
    text = flavor.extra_specs.get("hw:mem_encryption")
    by_flavor = None if text is None else strutils.bool_from_string(text)
    by_image = image.properties.get("hw_mem_encryption")
    if not by_flavor and not by_image:
        return None
    model = _model(flavor, image)
    if model is None:
        return None
    denials = [(by_flavor, flavor_key), (by_image, image_key)]
    return GuestRequest(
        model=model,
        requesters=tuple(key for asks, key in denials if asks),
        machine_type=_machine_type(image),
        firmware_type=image.properties.get("hw_firmware_type"),
        conflict=next((key for asks, key in denials if asks is False), None),
        disk_bus=_setting(image, "hw_disk_bus"),
        scsi_model=image.properties.get("hw_scsi_model"),
        passthrough=_flavor_passthrough(flavor),
    )


def _image_name(image: objects.ImageMeta) -> str:
    # An instance does not keep its image's name, and has no image at all where
    # it was booted from a volume.
    return f"image {image.id}" if "id" in image else "the volume's image"


def _model(
    flavor: objects.Flavor, image: objects.ImageMeta
) -> MemoryEncryptionModel | None:
    """Return the model; None for one that is not AMD's and so Nova's matter."""
    name = flavor.extra_specs.get("hw:mem_encryption_model") or image.properties.get(
        "hw_mem_encryption_model"
    )
    if name is None:
        return MemoryEncryptionModel.AMD_SEV
    try:
        return MemoryEncryptionModel(name)
    except ValueError:
        return None


def _setting(image: objects.ImageMeta, name: str) -> Setting | None:
    value = image.properties.get(name)
    return None if value is None else Setting(value, f"{name} of the image")


def _flavor_passthrough(flavor: objects.Flavor) -> tuple[Setting, ...]:
    """Return the flavor's keys that ask for devices of the host."""
    return tuple(
        Setting(value, f"{key} of flavor {flavor.name}")
        for key, value in sorted(flavor.extra_specs.items())
        if _PASSTHROUGH_KEY.fullmatch(key)
    )


def direct_ports(network_info: Iterable[Any] | None) -> tuple[Setting, ...]:
    """Return the network ports that are PCI devices of the host (SR-IOV)."""
    return tuple(
        Setting(vif["vnic_type"], f"the vnic type of port {vif['id']}")
        for vif in network_info or ()
        if vif["vnic_type"] in network_model.VNIC_TYPES_DIRECT_PASSTHROUGH
    )


def _machine_type(image: objects.ImageMeta) -> Setting | None:
    by_image = _setting(image, "hw_machine_type")
    if by_image is not None:
        return by_image
    arch = libvirt_utils.get_arch(image)
    if any(m.startswith(f"{arch}=") for m in CONF.libvirt.hw_machine_type or ()):
        by_option = libvirt_utils.get_default_machine_type(arch)
        return Setting(by_option, "[libvirt] hw_machine_type on this host")
    return None


def settle_machine_type(instance: objects.Instance, request: GuestRequest) -> None:
    """Give ``instance`` the machine type that it left open.

    Recorded where Nova records its own default, so that the guest keeps it for
    life whatever nova.conf says later.
    """
    if request.machine_type is None:
        instance.system_metadata["image_hw_machine_type"] = MACHINE_TYPE


def encrypted_image_meta(
    instance: objects.Instance, image_meta: objects.ImageMeta
) -> objects.ImageMeta:
    """Return a copy of ``image_meta`` with what encryption needs.

    ``image_meta`` is what Nova makes the guest of: the instance's own image or
    a rescue image, whose disk is booted in the instance's encryption.
    """
    own = instance.image_meta.properties
    result = image_meta.obj_clone()
    for name in (
        "hw_mem_encryption",
        "hw_mem_encryption_model",
        "hw_firmware_type",
        "hw_firmware_stateless",
        "hw_machine_type",
    ):
        if own.obj_attr_is_set(name):
            setattr(result.properties, name, getattr(own, name))
    return result


def keep_firmware(old_guest: Any) -> None:
    """Have Nova keep the firmware with which the guest was first started.

    Nova 33 and later reads the existing domain as ``old_guest`` and selects
    anew if its ``loader/@secure`` has changed. libvirt leaves that attribute out
    where a firmware feature says the same, as in our XML: no change.
    """
    if old_guest is None or not old_guest.os_loader:
        return
    if old_guest.os_loader_secure is None:
        old_guest.os_loader_secure = bool(old_guest.os_firmware_secure)


def build_error(
    instance: objects.Instance, error: SevDriverError
) -> nova_exception.NovaException:
    """Return what to raise in a build.

    BuildAbortException alone ends a build at once and shows its words in the
    server's fault; anything else sends the guest to the next host.
    """
    if not isinstance(error, RequirementsNotMet):
        return operation_error(error)
    own = [v for v in error.violations if v.fault is Fault.REQUEST]
    if own:
        return nova_exception.BuildAbortException(
            instance_uuid=instance.uuid, reason=" ".join(map(str, own))
        )
    return nova_exception.ComputeResourcesUnavailable(reason=str(error))


def operation_error(error: SevDriverError) -> nova_exception.NovaException:
    """Return what to raise when an existing guest cannot be started or changed."""
    return nova_exception.InternalError(str(error))


def unchanged_error(error: SevDriverError) -> nova_exception.NovaException:
    """Return what leaves the server as it was, instead of in ERROR."""
    return nova_exception.InstanceFaultRollback(operation_error(error))


def migration_error(error: SevDriverError) -> nova_exception.NovaException:
    """Return what ends a live migration before it begins."""
    return nova_exception.MigrationPreCheckError(reason=str(error))


@contextlib.contextmanager
def errors_as(
    nova_error: Callable[[SevDriverError], nova_exception.NovaException],
) -> Iterator[None]:
    """Turn our errors into Nova's by one of the functions above."""
    try:
        yield
    except SevDriverError as error:
        LOG.error("%s", error)
        raise nova_error(error) from error
