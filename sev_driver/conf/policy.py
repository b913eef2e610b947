# SPDX-License-Identifier: Apache-2.0

"""The options for guest policies."""

from __future__ import annotations

import functools

from oslo_config import cfg, types

from sev_driver.domain.launch_security import LaunchSecurity, Policies
from sev_driver.exceptions import ConfigurationError
from sev_driver.guest.launch_inputs import NO_INPUTS, LaunchInputs
from sev_driver.guest.policy import SevPolicy, SnpPolicy
from sev_driver.model import MemoryEncryptionModel


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

OPTS: list[cfg.Opt] = [
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
