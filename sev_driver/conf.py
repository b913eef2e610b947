# SPDX-License-Identifier: Apache-2.0

"""The options of sev_driver in nova.conf."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

from oslo_config import cfg, types

from sev_driver.domain.launch_security import LaunchSecurity, Policies
from sev_driver.exceptions import ConfigurationError
from sev_driver.guest.launch_inputs import NO_INPUTS, LaunchInputs
from sev_driver.guest.policy import SevPolicy, SnpPolicy
from sev_driver.model import SEV, MemoryEncryptionModel
from sev_driver.nova_release import NovaRelease


class _PolicyType(types.ConfigType):
    """The type of a guest policy; :meth:`SevPolicy.parse` defines its syntax."""

    def __init__(self, policy: type[SevPolicy] | type[SnpPolicy]) -> None:
        super().__init__(type_name="guest policy")
        self._policy = policy

    def __call__(self, value: str) -> SevPolicy | SnpPolicy:
        return self._policy.parse(value)

    def _formatter(self, value: str) -> str:
        return self._policy.parse(value).format()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _PolicyType) and other._policy is self._policy

    def __hash__(self) -> int:
        return hash(self._policy)


_SEV_OPTS: list[cfg.Opt] = [
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

_POLICY_HELP = """
Possible values:

* A number, decimal or hexadecimal with ``0x``, or the names of bits separated by ``|``.

nova-compute does not start if the reserved bits of a policy are wrong, if the policy
is that of another model, or if it allows debugging while ``[sev] allow_debug`` is
False. If the SEV firmware or the kernel does not support a policy, guests with it do
not start.

The policy is set whenever a guest's domain is created: when the guest is built, hard
rebooted, or moved to another host.

Related options:

* ``[sev] allow_debug``
"""

_POLICY_OPTS: list[cfg.Opt] = [
    cfg.Opt(
        "sev_policy",
        type=_PolicyType(SevPolicy),
        default="0x0033",
        sample_default="0x0033",
        help=f"""
Guest policy for AMD SEV: what the host may do with such guests.

Bits: NODBG (0x1: no debugging), NOKS (0x2: no sharing of keys), NOSEND (0x8: not
sent to another platform), DOMAIN (0x10: not sent out of its domain), SEV (0x20: not
sent to a platform without SEV), 16 to 31: the minimum version of the SEV firmware.
The default, NODBG|NOKS|DOMAIN|SEV, is Nova's.
{_POLICY_HELP}""",
    ),
    cfg.Opt(
        "sev_es_policy",
        type=_PolicyType(SevPolicy),
        default="0x0037",
        sample_default="0x0037",
        help=f"""
Guest policy for AMD SEV-ES: the bits of ``[sev] sev_policy``, and ES (0x4).

The default, NODBG|NOKS|ES|DOMAIN|SEV, is Nova's.
{_POLICY_HELP}""",
    ),
    cfg.Opt(
        "snp_policy",
        type=_PolicyType(SnpPolicy),
        default="0x00030000",
        sample_default="0x00030000",
        help=f"""
Guest policy for AMD SEV-SNP: what the host may do with such guests.

Bits: 0 to 15: the minimum version of the SEV firmware's ABI, SMT (0x10000: the host
may have simultaneous multithreading enabled), RSVD_MBO (0x20000: must be set),
MIGRATE_MA (0x40000), DEBUG (0x80000), SINGLE_SOCKET (0x100000), CXL_ALLOW
(0x200000), MEM_AES_256_XTS (0x400000), RAPL_DIS (0x800000),
CIPHERTEXT_HIDING_DRAM (0x1000000), PAGE_SWAP_DISABLE (0x2000000). The default,
SMT|RSVD_MBO, is Nova's. A host with simultaneous multithreading needs SMT.
{_POLICY_HELP}""",
    ),
    cfg.BoolOpt(
        "allow_debug",
        default=False,
        help="""
Allow guest policies with which the host can debug guests, and so read their memory.

Possible values:

* False (default): nova-compute does not start with such a policy, and does not start
  a guest whose domain has one.
* True: such policies are allowed. Use this only to develop guests: the host can read
  everything in a guest whose policy allows debugging.

Related options:

* ``[sev] sev_policy``
* ``[sev] sev_es_policy``
* ``[sev] snp_policy``
""",
    ),
]

_LIBVIRT_OPTS: list[cfg.Opt] = [
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

_SLOT_OPTS: list[cfg.Opt] = [
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


def slot_limits(conf: cfg.ConfigOpts) -> dict[MemoryEncryptionModel, int | None]:
    """Return the configured limit of guests for each model, None if not set."""
    return {
        MemoryEncryptionModel.AMD_SEV: conf.libvirt.num_memory_encrypted_guests,
        MemoryEncryptionModel.AMD_SEV_ES: conf.sev.num_sev_es_guests,
        MemoryEncryptionModel.AMD_SEV_SNP: conf.sev.num_sev_snp_guests,
    }


_MONITORING_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "prometheus_textfile",
        help="""
File to which metrics for Prometheus are written.

The file has the numbers of used, free, reserved and lost slots, of refusals by reason,
and of failed audits, in the format of node_exporter's textfile collector. It is
replaced atomically with each update of the host's resources
(``[DEFAULT] update_resources_interval``). The page "Monitoring" of the manual lists
all metrics.

Possible values:

* Unset (default): no file is written.
* A path that ends with ``.prom``, in the directory of node_exporter's option
  ``--collector.textfile.directory``. nova-compute needs write access to the directory.

The Python package prometheus_client must be installed with nova-compute. If it is not,
or if the file cannot be written, a warning is logged; nothing else changes.

If this option is set, the driver queries Placement for the consumers of slots also for
models that no guest uses, as often as ``[sev] allocation_check_interval`` says.

Related options:

* ``[sev] audit_interval``
* ``[DEFAULT] update_resources_interval``
""",
    ),
]


_GROUPS: dict[str, list[cfg.Opt]] = {
    "libvirt": _LIBVIRT_OPTS,
    "sev": _SLOT_OPTS + _SEV_OPTS + _MONITORING_OPTS + _POLICY_OPTS,
}


def check_values(conf: cfg.ConfigOpts) -> None:
    """Read each option once, so that nova-compute does not start with a wrong value.

    oslo.config checks a value when it is read, for some options only during an update
    of the host's resources, which would then fail again and again.

    :raises oslo_config.cfg.ConfigFileValueError: a value is of the wrong kind.
    :raises ConfigurationError: a policy is wrong.
    """
    for group, options in _GROUPS.items():
        for option in options:
            if option not in _POLICY_OPTS:
                conf[group][option.dest]
    policies(conf)


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options that the installed Nova does not have."""
    for group, options in _GROUPS.items():
        for option in options:
            # Nova 33 and older has one of them with another help text. oslo.config
            # accepts an option twice only if both are equal.
            if group not in conf or option.dest not in conf[group]:
                conf.register_opt(option, group=group)


def policies(conf: cfg.ConfigOpts) -> Policies:
    """Return the guest policies.

    :raises ConfigurationError: a policy is invalid, see :class:`Policies`.
    """
    group = conf.sev
    try:
        return _policies(
            group.sev_policy, group.sev_es_policy, group.snp_policy, group.allow_debug
        )
    except cfg.ConfigFileValueError as error:
        raise ConfigurationError(str(error)) from error


#: They are needed at each launch, and always the same.
_policies = functools.lru_cache(maxsize=4)(Policies)


def launch_security(
    conf: cfg.ConfigOpts,
    model: MemoryEncryptionModel,
    inputs: LaunchInputs = NO_INPUTS,
) -> LaunchSecurity:
    """Return the launch security of a guest of ``model`` on this host.

    :param inputs: what the guest's owner gave.
    :raises ConfigurationError: a policy is invalid, see :class:`Policies`.
    """
    return policies(conf).launch_security(model, inputs)


def list_opts() -> Iterable[tuple[str, list[cfg.Opt]]]:
    """Return all options by group, for the entry point ``oslo.config.opts``."""
    return [(group, list(options)) for group, options in _GROUPS.items()]
