# SPDX-License-Identifier: Apache-2.0

"""The options for the number of slots of each model."""

from __future__ import annotations

from oslo_config import cfg

from sev_driver.model import MemoryEncryptionModel

LIBVIRT_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "num_memory_encrypted_guests",
        min=0,
        help="""
Maximum number of guests with memory encrypted by AMD SEV on this host.

The hardware has a fixed number of slots for encryption keys, one for each guest.
sev_driver detects that number and reports it to Placement. Use this option to report
a lower number, for example to keep slots for guests that are not managed by Nova. Such
guests use the slots that are not reported first; if they use more, the driver reserves
those in Placement while the guests run.

Possible values:

* Unset (default): the number of slots that the hardware has.
* 0: no guests with AMD SEV on this host. The scheduler uses other hosts.
* A number up to the number of slots: that number of guests.
* A higher number: the number of slots takes effect, and a warning is logged.

If the number of slots is unknown, an unset option means no limit, and a number is
reported to Placement as it is.

Related options:

* ``[libvirt] virt_type`` must be ``kvm`` or ``qemu``.
* ``[DEFAULT] reserved_host_memory_mb``: encrypted guests pin their memory.

Nova had this option up to 2026.1 (33.0.0).
""",
    ),
]

OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "num_sev_es_guests",
        min=0,
        help="""
Maximum number of guests with memory encrypted by AMD SEV-ES on this host.

SEV-ES and SEV-SNP share one pool of slots. If the host supports both, this option
divides the pool.

Possible values:

* Unset (default): if the host supports SEV-SNP, the slots that SEV-SNP does not use:
  none, unless ``[sev] num_sev_snp_guests`` is set. Otherwise, the number of slots that
  the hardware has.
* 0: no guests with AMD SEV-ES on this host.
* A number up to the number of slots: that number of guests. SEV-SNP gets the rest.
* A higher number: the number of slots takes effect, and a warning is logged.

SEV firmware with the fix for CVE-2025-48514 rejects SEV-ES guests while SEV-SNP is
enabled, and kernels older than 7.2 do not report that. With SEV-SNP on such a kernel,
SEV-ES is offered only if this option is greater than 0.

If the number of slots is unknown, the number set here is reported to Placement.

Related options:

* ``[sev] num_sev_snp_guests``
* ``[libvirt] num_memory_encrypted_guests`` is the same for plain AMD SEV.
""",
    ),
    cfg.IntOpt(
        "num_sev_snp_guests",
        min=0,
        help="""
Maximum number of guests with memory encrypted by AMD SEV-SNP on this host.

Possible values:

* Unset (default): the number of slots that the hardware has, minus
  ``[sev] num_sev_es_guests``.
* 0: no guests with AMD SEV-SNP on this host.
* A number up to the number of slots: that number of guests. SEV-ES gets the rest, if
  the host accepts SEV-ES guests while SEV-SNP is enabled.
* A higher number: the number of slots takes effect, and a warning is logged.

If the number of slots is unknown, an unset option means no limit, or no slots if
``[sev] num_sev_es_guests`` is set. A number is reported to Placement as it is.

Related options:

* ``[sev] num_sev_es_guests``
* ``[libvirt] num_memory_encrypted_guests`` is the same for plain AMD SEV.
""",
    ),
]


def slot_limits(conf: cfg.ConfigOpts) -> dict[MemoryEncryptionModel, int | None]:
    """Return the configured limit of guests for each model, None if not set."""
    return {
        MemoryEncryptionModel.AMD_SEV: conf.libvirt.num_memory_encrypted_guests,
        MemoryEncryptionModel.AMD_SEV_ES: conf.sev.num_sev_es_guests,
        MemoryEncryptionModel.AMD_SEV_SNP: conf.sev.num_sev_snp_guests,
    }
