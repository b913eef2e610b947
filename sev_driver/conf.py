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

"""Options of nova.conf that sev_driver reads."""

from __future__ import annotations

from collections.abc import Iterable

from oslo_config import cfg, types

from sev_driver import monitoring_options, slot_options
from sev_driver.exceptions import ConfigurationError
from sev_driver.policies import Policies
from sev_driver.policy import SevPolicy, SnpPolicy


class _PolicyType(types.ConfigType):
    """A guest policy; see :meth:`SevPolicy.parse` for how it is written."""

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
Seconds between two audits of the running guests.

An audit reads the domain of each guest that asked for encryption from libvirt
and logs an error for each that runs without it, whoever started it.

Possible values:

* 0: no audit.
* a number of seconds; an audit takes place with the first update of the host's
  resources (``[DEFAULT] update_resources_interval``) after that time.

Related options:

* ``[sev] stop_unencrypted_guests``
""",
    ),
    cfg.BoolOpt(
        "stop_unencrypted_guests",
        default=False,
        help="""
Power off a guest that an audit finds running without its encryption.

A guest that is encrypted by another generation or with another policy than it
asked for is logged and left running. A guest whose rebuild from an image that
asks for encryption was refused does ask for it from then on.

Possible values:

* False (default): it is logged as an error and left running.
* True: it is also powered off, as if its power had failed.

Related options:

* ``[sev] audit_interval``
""",
    ),
    cfg.BoolOpt(
        "require_support_at_start",
        default=False,
        help="""
Refuse to start nova-compute when the host has lost what its guests need.

Nova 33 and older does not look at its guests when it starts: there, this option
does nothing.

Possible values:

* False (default): nova-compute starts and serves all other guests. The guests
  that asked for encryption are refused a start, one by one, with the reason,
  and keep their slots.
* True: nova-compute does not start while a guest of this host asks for AMD SEV,
  SEV-ES or SEV-SNP and the host does not offer it, as in Nova 34 itself.

Related options:

* none.
""",
    ),
]

_POLICY_HELP = """
Possible values:

* a number, hexadecimal with ``0x``, or the names of its bits parted by ``|``.

nova-compute does not start with a policy whose reserved bits are
wrong, that belongs to another generation, or that allows debugging while
``[sev] allow_debug`` is off. What the firmware and the kernel of a host do not
take, they refuse when a guest starts.

The policy of a guest is set anew whenever its domain is made: at its build, a
hard reboot, a move to another host.

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
The policy of guests with AMD SEV: what this host may do to them.

Bits: NODBG (0x1: no debugging), NOKS (0x2: keys are not shared), NOSEND (0x8:
never sent to another platform), DOMAIN (0x10: kept in its domain), SEV (0x20:
sent to SEV platforms only); 16 to 31: the least firmware version. The default
is NODBG|NOKS|DOMAIN|SEV, Nova's own.
{_POLICY_HELP}""",
    ),
    cfg.Opt(
        "sev_es_policy",
        type=_PolicyType(SevPolicy),
        default="0x0037",
        sample_default="0x0037",
        help=f"""
The policy of guests with AMD SEV-ES: as ``[sev] sev_policy``, with ES (0x4).

The default is NODBG|NOKS|ES|DOMAIN|SEV, Nova's own.
{_POLICY_HELP}""",
    ),
    cfg.Opt(
        "snp_policy",
        type=_PolicyType(SnpPolicy),
        default="0x00030000",
        sample_default="0x00030000",
        help=f"""
The policy of guests with AMD SEV-SNP: what this host may do to them.

Bits: 0 to 15 the least version of the firmware's ABI, SMT (0x10000: may run
beside another guest on a core's threads), RSVD_MBO (0x20000: must be set),
MIGRATE_MA (0x40000), DEBUG (0x80000), SINGLE_SOCKET (0x100000), CXL_ALLOW
(0x200000), MEM_AES_256_XTS (0x400000), RAPL_DIS (0x800000),
CIPHERTEXT_HIDING_DRAM (0x1000000), PAGE_SWAP_DISABLE (0x2000000). The default
is SMT|RSVD_MBO, Nova's own. A host whose threads are on needs SMT.
{_POLICY_HELP}""",
    ),
    cfg.BoolOpt(
        "allow_debug",
        default=False,
        help="""
Allow guest policies by which this host may debug guests, and so read them.

Possible values:

* False (default): nova-compute does not start with such a policy, and starts no
  guest whose domain has one, whoever wrote it.
* True: for the development of guests. Nothing in such a guest is a secret.

Related options:

* ``[sev] sev_policy``
* ``[sev] sev_es_policy``
* ``[sev] snp_policy``
""",
    ),
]

_GROUPS: dict[str, list[cfg.Opt]] = {
    "libvirt": slot_options.LIBVIRT_OPTS,
    "sev": slot_options.SEV_OPTS
    + _SEV_OPTS
    + monitoring_options.SEV_OPTS
    + _POLICY_OPTS,
}


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options that this Nova does not bring itself."""
    for group, options in _GROUPS.items():
        for option in options:
            # Nova 33 and older has one of them with a help text of its own:
            # oslo.config takes the same option twice only if it is equal.
            if group not in conf or option.dest not in conf[group]:
                conf.register_opt(option, group=group)


def policies(conf: cfg.ConfigOpts) -> Policies:
    """Return the guest policies.

    :raises ConfigurationError: they cannot be, see :class:`Policies`.
    """
    group = conf.sev
    try:
        return Policies(
            group.sev_policy, group.sev_es_policy, group.snp_policy, group.allow_debug
        )
    except cfg.ConfigFileValueError as error:
        raise ConfigurationError(str(error)) from error


def list_opts() -> Iterable[tuple[str, list[cfg.Opt]]]:
    """Entry point ``oslo.config.opts``: what the sample generator writes."""
    return [(group, list(options)) for group, options in _GROUPS.items()]
