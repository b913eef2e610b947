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


"""Options that say how many slots are offered, and on which resource provider."""

from __future__ import annotations

from oslo_config import cfg

from sev_driver.model import MemoryEncryptionModel

LIBVIRT_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "num_memory_encrypted_guests",
        min=0,
        help="""
Maximum number of guests with memory encrypted by AMD SEV on this host.

The hardware has a fixed number of slots for encryption keys, one for each
guest. sev_driver detects that number and tells Placement; this option lowers it, for
instance to keep slots for guests that Nova does not manage. Such guests take what
is not offered first; beyond that, what they take is reserved in Placement while
they run.

Possible values:

* unset (default): as many guests as the hardware has slots.
* 0: no guest with AMD SEV on this host. Guests that ask for it are scheduled
  elsewhere.
* a number up to that of the slots: as many guests.
* a higher number: the number of slots rules, and a warning is logged.

Where nothing tells the number of slots, an unset option means no
limit, and a number is taken as it is.

Related options:

* ``[libvirt] virt_type`` must be ``kvm`` or ``qemu``.
* ``[DEFAULT] reserved_host_memory_mb``: encrypted guests pin their memory.

Nova itself had this option up to 2026.1 (33.0.0); sev_driver keeps it.
""",
    ),
]

SEV_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "num_sev_es_guests",
        min=0,
        help="""
Maximum number of guests with memory encrypted by AMD SEV-ES on this host.

SEV-ES and SEV-SNP take their slots for encryption keys from one pool. Where the
host can run both, this option divides it.

Possible values:

* unset (default): where the host offers SEV-SNP, what SEV-SNP leaves of the
  pool, and that is nothing unless ``[sev] num_sev_snp_guests`` limits SEV-SNP;
  elsewhere as many guests as the hardware has slots.
* 0: no guest with AMD SEV-ES on this host.
* a number up to that of the slots: as many guests, and SEV-SNP gets the rest.
* a higher number: the number of slots rules, and a warning is logged.

Where SEV-SNP is on and the kernel does not tell whether the firmware still takes
SEV-ES guests beside it (before 7.2), SEV-ES is offered only if this option is
above 0: firmware since the correction of CVE-2025-48514 refuses them.

Where nothing tells the number of slots, a number is taken as it is.

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

* unset (default): as many guests as the hardware has slots, less those that
  ``[sev] num_sev_es_guests`` sets aside for SEV-ES.
* 0: no guest with AMD SEV-SNP on this host.
* a number up to that of the slots: as many guests, and SEV-ES gets the rest, where
  the host takes SEV-ES guests beside SEV-SNP.
* a higher number: the number of slots rules, and a warning is logged.

Where nothing tells the number of slots, an unset option means no limit, or none
at all where ``[sev] num_sev_es_guests`` is set, and a number is taken as it is.

Related options:

* ``[sev] num_sev_es_guests``
* ``[libvirt] num_memory_encrypted_guests`` is the same for plain AMD SEV.
""",
    ),
    cfg.BoolOpt(
        "slots_on_root_provider",
        default=False,
        help="""
Report the slots of AMD SEV where Nova 31 (2025.1) and older looks for them.

Set it before the host goes back to the libvirt driver of such a Nova itself,
and restart nova-compute once: the slots, the guests' allocations of them and
the trait HW_CPU_X86_AMD_SEV move to the host's own resource provider.

Possible values:

* False (default): each generation has a resource provider of its own, a child of
  the host's, as in Nova 32 (2025.2) and later. What is on the host's own provider
  moves there when nova-compute starts.
* True: the slots of AMD SEV are on the host's own provider. SEV-ES and SEV-SNP,
  which such a Nova does not know, are not offered; their providers stay as long
  as guests hold their slots.

Related options:

* none.
""",
    ),
]


def caps(conf: cfg.ConfigOpts) -> dict[MemoryEncryptionModel, int | None]:
    """Return the operator's limit for each model, None where there is none."""
    return {
        MemoryEncryptionModel.AMD_SEV: conf.libvirt.num_memory_encrypted_guests,
        MemoryEncryptionModel.AMD_SEV_ES: conf.sev.num_sev_es_guests,
        MemoryEncryptionModel.AMD_SEV_SNP: conf.sev.num_sev_snp_guests,
    }
