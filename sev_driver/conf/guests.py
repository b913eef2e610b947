# SPDX-License-Identifier: Apache-2.0

"""The options for the start of guests, and for the audit of running guests."""

from __future__ import annotations

from oslo_config import cfg

OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "audit_interval",
        default=600,
        min=0,
        help="""
Interval in seconds between audits of the running guests.

An audit reads from libvirt the domain of each guest that asks for encryption, and
logs an error for each guest that runs without it.

Possible values:

* 0: no audits.
* A number of seconds. The audit takes place with the first update of the host's
  resources (``[DEFAULT] update_resources_interval``) after that time.

Related options:

* ``[sev] stop_unencrypted_guests``
""",
    ),
    cfg.IntOpt(
        "allocation_check_interval",
        default=600,
        min=0,
        help="""
Seconds after which Placement is queried again for the consumers of slots.

If encrypted guests start or end, if the number of slots changes, or if
Placement has allocated slots of this host, the driver queries Placement with
each update for two minutes. Only the deletion of an allocation does not show
on the host. This option limits the time until the driver notices that the
allocations of a running server have been deleted, and creates them again. In
this time, Placement may give the slot to another server. If the processor has
no free key, that server does not start here, and Nova builds it on another
host.

Possible values:

* 0: The driver queries Placement with each update of the host's resources
  (``[DEFAULT] update_resources_interval``), once for each model that guests
  run with.
* A number of seconds: The driver queries Placement with the first update
  after this time.

Related options:

* ``[DEFAULT] update_resources_interval``
""",
    ),
    cfg.BoolOpt(
        "stop_unencrypted_guests",
        default=False,
        help="""
Power off guests that ask for encryption and run without it.

A guest that is encrypted with another model or another policy is not powered off; an
error is logged. If a rebuild from an image that asks for encryption is refused, the
guest asks for encryption from then on.

Possible values:

* False (default): an audit logs an error, and the guest continues to run.
* True: the audit also powers the guest off, without a shutdown.

Related options:

* ``[sev] audit_interval``
""",
    ),
    cfg.BoolOpt(
        "owner_inputs",
        default=True,
        help="""
Take launch inputs of guests with AMD SEV-SNP from their owners.

The owner of a guest can give host data, a guest policy and an ID block:
``sev:host_data``, ``sev:policy``, ``sev:id_block`` and ``sev:id_auth_0``… in the
server's metadata, the same with ``sev_`` as properties of the image, or ``sev:policy``
as an extra spec of the flavor. The guest's attestation report has them. A policy of the
owner replaces ``[sev] snp_policy`` for this guest. It can allow debugging only with
``[sev] allow_debug``.

Possible values:

* True (default): launch inputs are taken. A server whose launch inputs are wrong, or
  that has some and is not one with SEV-SNP, is refused.
* False: a server with launch inputs is refused, and [sev] snp_policy applies to all
  guests with AMD SEV-SNP.

Related options:

* ``[sev] snp_policy``
* ``[sev] allow_debug``
""",
    ),
    cfg.BoolOpt(
        "tell_launch",
        default=True,
        help="""
Write what was launched into the metadata of servers with AMD SEV-SNP.

After each launch, the driver writes keys that begin with ``sev:launched_``: the launch
digest, SHA-256 and path of the guest firmware, the number of vCPUs, the CPU, the guest
policy, SHA-256 of kernel, initial RAM disk and command line, and the versions of QEMU
and libvirt. The server's project can read them. A fact that the host does not know has
the value ``unknown`` and the reason. The keys help the owner of a guest to find out why
an attestation report differs from what was expected; they prove nothing.

The digest needs the Python package sev-snp-measure, installed with nova-compute. It is
unknown if nova-compute cannot read the guest firmware, for example because libvirt runs
in another container.

Possible values:

* True (default): the keys are written. They replace keys of the same names that a user
  has set.
* False: no keys are written; those of an earlier launch are removed.

Related options: none.
""",
    ),
    cfg.BoolOpt(
        "require_support_at_start",
        default=False,
        help="""
Do not start nova-compute if the host does not support its encrypted guests.

With this option, any user can keep nova-compute from starting: Nova stores the image
of a rebuild before the rebuild is refused, and the image can ask for a model that the
host does not support.

This option has no effect in Nova 33 and older, which does not check its guests at
startup.

Possible values:

* False (default): nova-compute starts. Guests that ask for a model that the host does
  not support cannot be started; each attempt fails with the reason. They keep their
  slots.
* True: nova-compute does not start while a guest of this host asks for AMD SEV,
  SEV-ES, SEV-SNP or Intel TDX and the host does not support it, as with the libvirt
  driver of Nova 34.

Related options: none.
""",
    ),
    cfg.BoolOpt(
        "allow_snp_pci_devices",
        default=False,
        help="""
Allow PCI devices of the host in guests with AMD SEV-SNP. Not tested on hardware.

By public reports, QEMU 9.2 and newer starts such guests, and 9.1 does not.
sev_driver was not tested on a host that has both SEV-SNP and a PCI device to pass
through. A device reads and writes only the memory that the guest shares with it.

Possible values:

* False (default): a guest that asks for encryption and for a PCI device of the
  host, by a flavor or by a network port, is refused, as with the other models.
* True: with AMD SEV-SNP it is started if QEMU is 9.2 or newer. Mediated devices
  (vGPU) are refused as before. Set it on all hosts that have such devices: the
  scheduler does not know of it.

Related options:

* ``[pci] device_spec``
* ``[pci] alias``
""",
    ),
]
