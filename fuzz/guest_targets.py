# SPDX-License-Identifier: Apache-2.0

"""What users and operators write: flavor keys, image properties, policies."""

from __future__ import annotations

import contextlib
from typing import Any

from nova import objects
from nova.conf import CONF
from oslo_utils import strutils

from fuzz.source import Source
from fuzz.target import Target, check_words, must, own_errors
from sev_driver.compute import errors
from sev_driver.compute import instance as guest_request
from sev_driver.domain.launch_security import Policies
from sev_driver.exceptions import RequirementsNotMet
from sev_driver.guest import model_selection, requirements
from sev_driver.guest.policy import SevPolicy, SnpPolicy
from sev_driver.guest.request import (
    FlavorSpecs,
    ImageProperties,
    is_true,
    parse_request,
)
from sev_driver.host.capabilities import HostCapabilities
from sev_driver.model import MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease

_UUID = "11111111-2222-3333-4444-555555555555"
_FLAVOR_KEYS = (
    "hw:mem_encryption", "hw:mem_encryption_model", "sev:model",
    "trait:HW_CPU_X86_AMD_SEV_ES", "trait1:CUSTOM_HW_CPU_X86_AMD_SEV_SNP",
    "pci_passthrough:alias", "resources:VGPU", "resources1:PGPU",
)  # fmt: skip
_PROPERTIES = (
    "hw_mem_encryption", "hw_mem_encryption_model", "hw_firmware_type",
    "hw_firmware_stateless", "hw_machine_type", "hw_disk_bus", "hw_scsi_model",
    "hw_architecture", "trait:HW_CPU_X86_AMD_SEV_SNP", "os_type",
)  # fmt: skip
_VALUES = (
    "true", "false", "amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx", "required",
    "q35", "pc", "uefi", "bios", "virtio", "scsi", "virtio-scsi", "ide", "x86_64",
    "forbidden", "", "x" * 999, "q35\n2026-01-01 ERROR nova.compute [-] a line",
)  # fmt: skip


def _policies(data: bytes) -> None:
    source = Source(data)
    kind: type[SevPolicy] | type[SnpPolicy] = SnpPolicy if source.flag() else SevPolicy
    debug = source.flag()
    with own_errors(ValueError):
        policy = kind.parse(source.rest().decode("utf-8", "surrogateescape"))
        must(kind.parse(policy.format()) == policy, "written and read it is another")
        must(0 <= policy < 1 << 64, f"{policy:#x} is no policy")
        if isinstance(policy, SnpPolicy):
            Policies(snp=policy, allow_debug=debug)
        else:
            Policies(sev=policy, allow_debug=debug)


def _selection(data: bytes) -> None:
    source = Source(data)
    specs = source.pairs(_FLAVOR_KEYS, _VALUES)
    properties = source.pairs(_PROPERTIES, _VALUES)
    asks = [
        *model_selection.flavor_requests("m1", specs),
        *model_selection.image_requests("the image", properties),
    ]
    selected = model_selection.select(asks)
    must(isinstance(selected.model, MemoryEncryptionModel), "no model")
    values = {ask.value for ask in asks}
    must(bool(selected.conflict) or len(values) < 2, "two models and no conflict")
    for text in (*specs.values(), *properties.values()):
        as_nova = strutils.bool_from_string(text)
        must(is_true(text) is as_nova, f"{text!r} is read otherwise than by Nova")
    for release in (
        NovaRelease(34),
        NovaRelease(31),
    ):
        image = ImageProperties.of("the image", properties)
        request = parse_request(
            FlavorSpecs("m1", specs),
            image,
            release,
            slot_already_allocated=source.flag(),
        )
        if request is None:
            continue
        must(bool(request.requesters), "nobody asks for it")
        for violation in requirements.check_request(request, HostCapabilities(())):
            check_words(str(violation))


def _instance(source: Source) -> Any:
    """Return an instance as nova-compute loads it; None if Nova itself refuses it."""
    flavor = objects.Flavor(name="m1", extra_specs=source.pairs(_FLAVOR_KEYS, _VALUES))
    properties = source.pairs(_PROPERTIES, _VALUES)
    metadata = {f"image_{name}": value for name, value in properties.items()}
    instance = objects.Instance(
        uuid=_UUID, flavor=flavor, system_metadata=metadata, image_ref=_UUID
    )
    # A value that Nova's own object does not take ends in Nova, whatever the driver.
    with contextlib.suppress(ValueError):
        objects.ImageMeta.from_instance(instance).properties.get("hw_mem_encryption")
        return instance
    return None


def _guest_request(data: bytes) -> None:
    source = Source(data)
    instance = _instance(source)
    machines = source.choose(([], ["x86_64=q35"], ["x86_64=pc"]))
    if instance is None:
        return
    CONF.set_override("hw_machine_type", machines, group="libvirt")
    with own_errors():
        request = guest_request.request_for(instance)
        if request is None:
            return
        must(bool(request.requesters), "nobody asks for it")
        violations = requirements.check_request(request, HostCapabilities(()))
        for violation in violations:
            check_words(str(violation))
        error = errors.for_build(instance, RequirementsNotMet(violations))
        check_words(str(error), most=9999)
        guest_request.record_default_machine_type(instance, request)
        _take_encryption(instance)


def _take_encryption(instance: objects.Instance) -> None:
    rescue = objects.ImageMeta.from_dict({"properties": {"hw_machine_type": "pc"}})
    before = rescue.obj_to_primitive()
    merged = guest_request.with_encryption_properties(instance, rescue)
    must(rescue.obj_to_primitive() == before, "the rescue image is changed")
    own = instance.image_meta.properties
    for name in ("hw_mem_encryption", "hw_firmware_type", "hw_machine_type"):
        if own.obj_attr_is_set(name):
            taken = getattr(merged.properties, name)
            must(taken == getattr(own, name), f"{name} is not the guest's own")


objects.register_all()

TARGETS = (
    Target(
        "policies",
        _policies,
        lambda: [b"\0\0" + t for t in (b"0x0033", b"51", b"NODBG|NOKS", b"0x30000")],
        ("NODBG", "NOKS", "ES", "NOSEND", "DOMAIN", "SEV", "SMT", "RSVD_MBO", "0x"),
    ),
    Target("flavor-and-image", _selection, lambda: [bytes(40), bytes(range(40))]),
    Target(
        "guest-request", _guest_request, lambda: [bytes(40), bytes(range(80))], slow=8
    ),
)
