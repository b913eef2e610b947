# SPDX-License-Identifier: Apache-2.0

"""Derive the GuestRequest and other values from Nova's instance."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from nova import context as nova_context
from nova import objects
from nova.compute import task_states
from nova.conf import CONF
from nova.network import model as network_model
from nova.virt.libvirt import blockinfo
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from sev_driver.compute import nova_compat
from sev_driver.conf import policy as policy_options
from sev_driver.domain import verify
from sev_driver.domain.forbidden_devices import Disk
from sev_driver.domain.launch_security import LaunchSecurity
from sev_driver.guest import (
    input_keys,
    launch_inputs,
    model_selection,
    request,
    requirements,
)
from sev_driver.guest.input_keys import Owner
from sev_driver.guest.launch_inputs import NO_INPUTS, LaunchInputs
from sev_driver.guest.near_misses import NearMiss
from sev_driver.guest.request import is_true
from sev_driver.guest.requirements import (
    MACHINE_TYPE,
    VIRTIO_SCSI,
    ForeignRequest,
    GuestRequest,
    Setting,
)
from sev_driver.model import SEV_SNP, AnyModel

LOG = logging.getLogger(__name__)


def instances_on(hostname: str) -> Iterable[objects.Instance]:
    """Return all instances on a host, with flavor and image."""
    found: Iterable[objects.Instance] = objects.InstanceList.get_by_host(
        nova_context.get_admin_context(),
        hostname,
        expected_attrs=["flavor", "metadata", "system_metadata"],
    )
    return found


def request_for(instance: objects.Instance) -> GuestRequest | None:
    """Return the request of ``instance``, None if it does not ask for AMD SEV.

    The instance's own flavor and image are used: the image of a caller can be a rescue
    image.
    """
    return request_with_flavor(instance.flavor, instance)


def request_with_flavor(
    flavor: objects.Flavor, instance: objects.Instance
) -> GuestRequest | None:
    """Return the request of ``instance`` with another flavor."""
    if not _may_ask(flavor, instance):
        return None
    image = instance.image_meta  # Nova creates it with each access.
    asked = request.parse_request(
        request.FlavorSpecs(flavor.name, flavor.extra_specs),
        _image(instance, image),
        nova_compat.installed_release(),
        _default_machine(image),
        _slot_already_allocated(instance),
    )
    if asked is not None and asked.model is SEV_SNP and CONF.sev.allow_snp_pci_devices:
        return dataclasses.replace(asked, allows_pci_devices=True)
    return asked


def launch_inputs_for(
    instance: objects.Instance, flavor: objects.Flavor | None = None
) -> LaunchInputs:
    """Return the launch inputs of ``instance``.

    :param flavor: another flavor than the instance's own.
    """
    flavor = flavor or instance.flavor
    if not (
        input_keys.are_given(instance.metadata)
        or input_keys.are_given(flavor.extra_specs, other=model_selection.MODEL_KEY)
        or input_keys.are_given(instance.system_metadata, prefix="image_")
    ):
        return NO_INPUTS
    return launch_inputs.parse(
        instance.metadata,
        Owner(_image_title(instance), _stored_properties(instance)),
        Owner(f"flavor {flavor.name}", flavor.extra_specs),
        instance.user_data,
        allow_debug=CONF.sev.allow_debug,
    )


def launch_security(
    instance: objects.Instance, request: GuestRequest
) -> LaunchSecurity:
    """Return the launch security of ``instance``, with its launch inputs.

    :raises RequirementsNotMet: a launch input is wrong. Admission refuses it earlier.
    """
    inputs = launch_inputs_for(instance)
    _refuse_wrong(inputs, request.model)
    return policy_options.launch_security(CONF, request.model, inputs)


def is_unrescued(instance: objects.Instance) -> bool:
    """Return whether Nova starts the domain of ``instance`` from before its rescue.

    That one has the launch inputs of its launch. A rescue can need an ID block of its
    own, and the metadata of a rescued server cannot be changed.
    """
    return "task_state" in instance and instance.task_state == task_states.UNRESCUING


def verify_next_domain(
    instance: objects.Instance, request: GuestRequest, xml: str
) -> None:
    """Verify a domain with which the guest of ``instance`` will start.

    :raises RequirementsNotMet: a launch input is wrong.
    :raises EncryptionLost: see :func:`sev_driver.domain.verify.verify_domain`.
    :raises PolicyTooWeak: the same.
    """
    expected = launch_security(instance, request)
    verify.verify_domain(expected, xml, runs=is_unrescued(instance))


def check_launch_inputs(instance: objects.Instance) -> None:
    """Refuse a server whose launch inputs are wrong, or that cannot have any.

    :raises RequirementsNotMet: it is so.
    """
    inputs = launch_inputs_for(instance)
    if inputs.keys:
        _refuse_wrong(inputs, asked_model(instance))


def _refuse_wrong(inputs: LaunchInputs, model: AnyModel | None) -> None:
    if not inputs.keys:
        return
    options = CONF.sev
    found = launch_inputs.check(
        inputs, model, options.snp_policy, allowed=options.owner_inputs
    )
    requirements.refuse(found)


def asked_model(
    instance: objects.Instance, flavor: objects.Flavor | None = None
) -> AnyModel | None:
    """Return the model that ``instance`` asks for, of any vendor; None: none.

    :param flavor: another flavor than the instance's own.
    """
    flavor = flavor or instance.flavor
    asked = request_with_flavor(flavor, instance)
    if asked is not None:
        return asked.model
    foreign = foreign_request_for(instance, flavor)
    return None if foreign is None else foreign.model


def has_kernel(instance: objects.Instance, *, rescues: bool) -> bool:
    """Return whether the host loads the kernel of ``instance``.

    :param rescues: true for its rescue system.
    """
    if rescues and CONF.libvirt.rescue_kernel_id:
        return True
    return "kernel_id" in instance and bool(instance.kernel_id)


def image_model(instance: objects.Instance) -> str | None:
    """Return the ``hw_mem_encryption_model`` that Nova stores with ``instance``."""
    named: str | None = instance.system_metadata.get(
        f"image_{model_selection.IMAGE_MODEL_KEY}"
    )
    return named


def near_misses(instance: objects.Instance) -> tuple[NearMiss, ...]:
    """Return the misspelt settings in the flavor and image of ``instance``."""
    flavor = instance.flavor
    properties = _stored_properties(instance)
    return request.misspelt_keys(
        request.FlavorSpecs(flavor.name, flavor.extra_specs),
        request.ImageProperties(_image_title(instance), properties),
    )


def foreign_request_for(
    instance: objects.Instance, flavor: objects.Flavor | None = None
) -> ForeignRequest | None:
    """Return the request for a model of another vendor, None if not requested.

    :param flavor: another flavor than the instance's own.
    """
    flavor = flavor or instance.flavor
    if not _may_ask(flavor, instance):
        return None
    return request.parse_foreign_request(
        request.FlavorSpecs(flavor.name, flavor.extra_specs),
        _image(instance, instance.image_meta),
        nova_compat.installed_release(),
    )


def rescue_request(
    instance: objects.Instance, title: str, image: objects.ImageMeta
) -> GuestRequest | ForeignRequest | None:
    """Return what a guest of ``instance``'s flavor and the rescue image asks for.

    :param title: what messages call the rescue image.
    """
    properties = {
        name: str(getattr(image.properties, name))
        for name in (model_selection.IMAGE_KEY, model_selection.IMAGE_MODEL_KEY)
        if _is_set(image.properties, name)
    }
    asks = (
        request.FlavorSpecs(instance.flavor.name, instance.flavor.extra_specs),
        request.ImageProperties(title, properties),
        nova_compat.installed_release(),
    )
    return request.parse_foreign_request(*asks) or request.parse_request(*asks)


def _may_ask(flavor: objects.Flavor, instance: objects.Instance) -> bool:
    """Return whether a key exists that can ask for encryption.

    For plain guests, this is the only check.
    """
    return (
        model_selection.FLAVOR_KEY in flavor.extra_specs
        or model_selection.MODEL_KEY in flavor.extra_specs
        or f"image_{model_selection.IMAGE_KEY}" in instance.system_metadata
    )


def _image_title(instance: objects.Instance) -> str:
    return f"image {instance.image_ref}" if instance.image_ref else "the volume's image"


def _stored_properties(instance: objects.Instance) -> dict[str, str]:
    """Return the image properties that Nova stores with ``instance``."""
    return {
        key.removeprefix("image_"): value
        for key, value in instance.system_metadata.items()
        if key.startswith("image_")
    }


def _image(
    instance: objects.Instance, image: objects.ImageMeta
) -> request.ImageProperties:
    """Return all properties of the image, including those unknown to Nova."""
    properties = _stored_properties(instance)
    for name in _READ_BY_NOVA:
        value = image.properties.get(name)
        if value is not None:
            properties[name] = str(value)
    # An instance does not store its image's name. If it boots from a volume, it has no
    # image.
    title = f"image {image.id}" if "id" in image else "the volume's image"
    return request.ImageProperties(title, properties)


#: Properties that Nova may store under an older name, or in upper case.
_READ_BY_NOVA = (
    model_selection.IMAGE_KEY,
    "hw_disk_bus",
    "hw_firmware_type",
    "hw_machine_type",
    "hw_scsi_model",
)


#: Task states of a move in which the slot on the new host has just been allocated.
_MOVING = frozenset((task_states.RESIZE_MIGRATED, task_states.RESIZE_FINISH))


def _slot_already_allocated(instance: objects.Instance) -> bool:
    """Return whether ``instance`` has run before, and is not being moved.

    Its slot may have been allocated by an older Nova, which does not choose a model.
    """
    moving = "task_state" in instance and instance.task_state in _MOVING
    return has_run(instance) and not moving


def passthrough_ports(network_info: Iterable[Any] | None) -> tuple[Setting, ...]:
    """Return the network ports that are host devices (SR-IOV)."""
    return tuple(
        Setting(vif["vnic_type"], f"the vnic type of port {vif['id']}")
        for vif in network_info or ()
        if vif["vnic_type"] in network_model.VNIC_TYPES_DIRECT_PASSTHROUGH
    )


def vhost_user_ports(network_info: Iterable[Any] | None) -> tuple[str, ...]:
    """Return the ids of vhost-user ports, which access the guest's memory."""
    kind = network_model.VIF_TYPE_VHOSTUSER
    return tuple(vif["id"] for vif in network_info or () if vif["type"] == kind)


def shares_memory(instance: objects.Instance) -> bool:
    """Return whether Nova makes the guest's memory available to other processes.

    Nova shares memory in huge pages, and file-backed memory.
    """
    if CONF.libvirt.file_backed_memory > 0:
        return True
    topology = instance.numa_topology
    cells = () if topology is None else topology.cells
    return any((cell.pagesize or 0) > _SMALL_PAGE_KIB for cell in cells)


#: The size of x86's small pages in KiB.
_SMALL_PAGE_KIB = 4


def has_share(instance: objects.Instance, given: Mapping[str, Any]) -> bool:
    """Return whether a share (virtiofs) is attached to ``instance``.

    :param given: the arguments of Nova's call. Not every call has the shares.
    """
    shares = given.get("share_info")
    kind = getattr(objects, "ShareMappingList", None)  # since Nova 31
    if shares is None and kind is not None:
        context = given.get("context") or nova_context.get_admin_context()
        shares = kind.get_by_instance_uuid(context, instance.uuid)
    return bool(shares)


def has_run(instance: objects.Instance) -> bool:
    """Return whether ``instance`` has been started before, on any host."""
    return "launched_at" in instance and instance.launched_at is not None


def disks(
    instance: objects.Instance,
    request: GuestRequest,
    block_device_info: dict[str, Any] | None,
) -> tuple[Disk, ...]:
    """Return the disks of ``instance``, by Nova's rules.

    :param block_device_info: as Nova passes it to the driver; it is not changed.
    """
    image = instance.image_meta  # Nova creates it with each access.
    if request.machine_type is None:
        image.properties.hw_machine_type = MACHINE_TYPE
    info = blockinfo.get_disk_info(
        CONF.libvirt.virt_type, instance, image, _copied(block_device_info)
    )
    mapping = dict(info["mapping"])
    root = mapping.pop("root")
    has_virtio_scsi = request.scsi_model == VIRTIO_SCSI
    boot = Disk(root["dev"], root["bus"], root["type"] == "disk", has_virtio_scsi)
    others = (
        Disk(disk["dev"], disk["bus"])
        for disk in mapping.values()
        if disk["dev"] != root["dev"]
    )
    return (boot, *others)


def _copied(block_device_info: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a copy, because Nova writes device names into it."""
    if block_device_info is None:
        return None
    return {
        key: [dict(each) for each in value]
        if isinstance(value, list)
        else dict(value)
        if isinstance(value, dict)
        else value
        for key, value in block_device_info.items()
    }


def _default_machine(image: objects.ImageMeta) -> Setting | None:
    """Return this host's machine type for an image that names none."""
    if image.properties.get("hw_machine_type") is not None:
        return None
    arch = libvirt_utils.get_arch(image)
    if any(m.startswith(f"{arch}=") for m in CONF.libvirt.hw_machine_type or ()):
        by_option = libvirt_utils.get_default_machine_type(arch)
        return Setting(by_option, "[libvirt] hw_machine_type on this host")
    return None


def leaves_machine_type_open(context: Any, instance: objects.Instance) -> bool:
    """Return whether the new host of a move gets an image without machine type.

    Nova passes the image of the request specification to the new host, without the
    machine type that was recorded with the server. The result is False if it is
    unknown, for example because the conductor cannot reach the API database, and if
    this host's ``[libvirt] hw_machine_type`` is q35: other hosts should have it, too.
    """
    try:
        spec = objects.RequestSpec.get_by_instance_uuid(context, instance.uuid)
        image = spec.image
        named = image.properties.get("hw_machine_type") is not None
    except Exception as error:
        LOG.info(
            "Cannot determine whether the image names a machine type: %s",
            error,
            instance=instance,
        )
        return False
    default = _default_machine(image)
    return not named and (default is None or MACHINE_TYPE not in default.value)


def record_default_machine_type(
    instance: objects.Instance, request: GuestRequest
) -> None:
    """Record the machine type q35 with ``instance`` if its image names none.

    Nova records its own default in the same place. So the guest keeps its machine type
    if nova.conf changes.
    """
    if request.machine_type is None:
        instance.system_metadata["image_hw_machine_type"] = MACHINE_TYPE


def with_encryption_properties(
    instance: objects.Instance, image_meta: objects.ImageMeta
) -> objects.ImageMeta:
    """Return ``image_meta`` with the properties that encryption needs.

    The result is a copy if a property must be added.

    :param image_meta: the image that Nova builds the guest from: the instance's own
        image or a rescue image.
    """
    if _has_all(image_meta.properties, instance.system_metadata):
        return image_meta
    own = instance.image_meta.properties
    new = {name: getattr(own, name) for name in _NEEDED if _is_set(own, name)}
    properties = image_meta.properties
    if all(_is_set(properties, n) and getattr(properties, n) == new[n] for n in new):
        return image_meta
    result = image_meta.obj_clone()
    for name, value in new.items():
        setattr(result.properties, name, value)
    return result


_NEEDED = (
    model_selection.IMAGE_KEY,
    model_selection.IMAGE_MODEL_KEY,
    "hw_firmware_type",
    "hw_firmware_stateless",
    "hw_machine_type",
)


def _has_all(properties: objects.ImageMetaProps, metadata: Mapping[str, str]) -> bool:
    """Return whether an image has the needed properties that an instance stores.

    This saves time: to create an image from the stored properties, or to copy one, is
    slow. The result can be False although the image has them.
    """
    for name in _NEEDED:
        stored = metadata.get(f"image_{name}")
        if stored is None:
            continue
        value = getattr(properties, name) if _is_set(properties, name) else None
        if value != (is_true(stored) if isinstance(value, bool) else stored):
            return False
    return True


def _is_set(properties: objects.ImageMetaProps, name: str) -> bool:
    # Older releases do not have all of them.
    return name in properties.fields and properties.obj_attr_is_set(name)
