# SPDX-License-Identifier: Apache-2.0

"""The options that prepare a host for Nova's own driver."""

from __future__ import annotations

import dataclasses

from oslo_config import cfg

from sev_driver.model import SEV, MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "prepare_for_stock_nova",
        default=False,
        help="""
Prepare this host for Nova's own libvirt driver.

Set this option and restart nova-compute before you change ``[DEFAULT] compute_driver``
back. sev_driver then removes from Placement the traits and inventories of this host
that Nova's own driver would not maintain. So the scheduler sends no new guests here
that Nova's own driver would start in the clear. Running guests continue to run and
keep their slots.

Possible values:

* False (default): the host offers all models that it supports.
* True: the host's resource provider loses the trait CUSTOM_AMD_SEV_HOST. Models that
  Nova's own driver does not support (SEV-ES and SEV-SNP up to Nova 31, SEV-SNP in Nova
  32 and 33) are not offered; their resource providers remain while guests hold slots
  there. Up to Nova 31, the slots of AMD SEV, their allocations and the trait
  HW_CPU_X86_AMD_SEV move to the host's root resource provider, where such a Nova uses
  them. Guests that Nova's own driver would start in the clear, or with another model,
  are no longer built here; when nova-compute starts, it logs those that already exist.

Unset the option if the host keeps sev_driver, or when it returns to sev_driver.

Related options:

* ``[DEFAULT] compute_driver``
""",
    ),
    cfg.BoolOpt(
        "slots_on_root_provider",
        default=False,
        deprecated_for_removal=True,
        deprecated_reason="[sev] prepare_for_stock_nova does this and more.",
        help="""
Report the slots of AMD SEV as Nova 31 (2025.1) and older does.

Set this option and restart nova-compute before the host returns to the libvirt driver
of such a Nova. The slots, their allocations and the trait HW_CPU_X86_AMD_SEV move to
the host's root resource provider.

Possible values:

* False (default): each model has its own child resource provider, as in Nova 32
  (2025.2) and later. Slots on the root resource provider move there when nova-compute
  starts.
* True: the slots of AMD SEV are on the root resource provider. SEV-ES and SEV-SNP,
  which such a Nova does not support, are not offered; their resource providers remain
  while guests hold slots there.

Related options:

* ``[sev] prepare_for_stock_nova``
""",
    ),
]


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How a host is prepared for Nova's own driver.

    ``stock_models`` are the models that Nova's own driver supports, None if the host is
    not prepared. ``slots_on_root`` is true if the slots of plain SEV belong to the root
    resource provider.
    """

    stock_models: frozenset[MemoryEncryptionModel] | None = None
    slots_on_root: bool = False


def preparation(conf: cfg.ConfigOpts, release: NovaRelease) -> Preparation:
    """Return how the options prepare the host for Nova's own driver.

    :param release: the installed Nova.
    """
    if conf.sev.slots_on_root_provider:
        return Preparation(frozenset({SEV}), slots_on_root=True)
    if conf.sev.prepare_for_stock_nova:
        on_root = not release.scheduler_chooses_model
        return Preparation(release.stock_models, slots_on_root=on_root)
    return Preparation()
