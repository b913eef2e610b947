# SPDX-License-Identifier: Apache-2.0

"""A host with every generation, and how a guest asks for each on this Nova."""

import contextlib
from collections.abc import Iterator
from typing import Any

import nova_cloud
import novas
from nova_cloud import COMPUTE, UEFI, Cloud

from sev_driver.model import MemoryEncryptionModel
from sev_driver.placement import providers

SEV = MemoryEncryptionModel.AMD_SEV
ES = MemoryEncryptionModel.AMD_SEV_ES
SNP = MemoryEncryptionModel.AMD_SEV_SNP

#: libvirt's word on a host that has them all.
EVERY_GENERATION = novas.WITH_SEV.replace(
    "</features>",
    "<launchSecurity supported='yes'><enum name='sectype'>"
    "<value>sev</value><value>sev-snp</value></enum></launchSecurity></features>",
)
IMAGES = {SEV: UEFI, ES: UEFI, SNP: UEFI | {"hw_firmware_stateless": "true"}}
ASKED = {"hw:mem_encryption": "true"}


def asking(model: MemoryEncryptionModel) -> dict[str, str]:
    """Return the flavor keys that ask for ``model`` on this Nova."""
    if model is SEV:
        return ASKED
    if (34 if model is SNP else 32) <= novas.RELEASE:
        return ASKED | {"hw:mem_encryption_model": model.value}
    slot = {"resources:MEM_ENCRYPTION_CONTEXT": "1"} if novas.RELEASE >= 32 else ASKED
    name = providers.choose(model, providers.is_standard(model)).wanted
    trait = {f"trait:{name}": "required"}
    return {"sev:model": model.value} | slot | trait


@contextlib.contextmanager
def switched_on(cloud: Cloud, *models: MemoryEncryptionModel) -> Iterator[Cloud]:
    """Have the next hosts' kernel say that ``models`` are on, and libvirt know all."""
    for model in models:
        setattr(cloud.kvm_parameters, model.symbol.removeprefix("amd_"), True)
    with cloud.domain_features(EVERY_GENERATION):
        yield cloud


def start(cloud: Cloud, name: str = COMPUTE) -> str:
    """Start a compute whose libvirt and QEMU know every generation."""
    host: str = cloud.start_compute(
        name, libvirt_version=11_003_000, qemu_version=10_000_000
    )
    return host


@contextlib.contextmanager
def cloud(*hosts: str, es_slots: int, **options: Any) -> Iterator[Cloud]:
    """Yield a cloud whose computes know every model.

    :param hosts: names of its computes
    :param es_slots: how many slots of each are of SEV-ES
    :param options: of nova.conf, in the group DEFAULT
    """
    with nova_cloud.cloud(compute=False) as running:
        running.flags(num_sev_es_guests=es_slots, group="sev")
        running.flags(**options)
        with switched_on(running, SEV, ES, SNP):
            for name in hosts:
                start(running, name)
            yield running
