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

"""Guest policies: what the host may do to an encrypted guest, as named bits."""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import TypeVar

_SEPARATORS = re.compile(r"[|,\s]+")

#: 64 bits, in any notation.
_DIGITS = 80


_P = TypeVar("_P", bound="_Policy")


@dataclasses.dataclass(frozen=True)
class _Rules:
    """Which bits a policy has, may not set, and must set."""

    title: str
    bits: int
    reserved: int
    always: int = 0


class _Policy(enum.IntFlag):
    """What both kinds of policy have in common: text in, checked number out."""

    @classmethod
    def parse(cls: type[_P], text: str) -> _P:
        """Read a policy as libvirt writes it, or by its bits' names.

        :param text: a number in decimal, or hexadecimal with ``0x``; or names,
            such as ``NODBG|NOKS``, parted by ``|``, commas or blanks.
        :raises ValueError: neither, too large, or a reserved bit is wrong.
        """
        text = text.strip()
        named = not text[:1].isdigit()
        return cls.of_number(cls._by_names(text) if named else cls._by_number(text))

    @classmethod
    def of_number(cls: type[_P], number: int) -> _P:
        """:raises ValueError: it is too large, or a reserved bit is wrong."""
        rules = _RULES[cls]
        if number >= 1 << rules.bits:
            raise ValueError(f"{rules.title} has {rules.bits} bits, this is larger")
        if number & rules.reserved:
            raise ValueError(f"{rules.title} {number:#x} sets reserved bits")
        missing = rules.always & ~number
        if missing:
            raise ValueError(
                f"{rules.title} {number:#x} lacks {missing:#x}, which must be set"
            )
        return cls(number)

    @classmethod
    def _by_number(cls, text: str) -> int:
        try:
            if len(text) > _DIGITS:
                raise ValueError("longer than any number of a policy")
            return int(text, 0)
        except ValueError:
            message = f"{text[:40]!r} is no number: write it as 51 or as 0x33"
            raise ValueError(message) from None

    @classmethod
    def _by_names(cls, text: str) -> int:
        number = _RULES[cls].always
        for name in _SEPARATORS.split(text):
            try:
                number |= cls[name.upper()]
            except KeyError:
                known = ", ".join(bit.name for bit in cls if bit.name)
                message = f"{name[:40]!r} is no bit of {_RULES[cls].title}: {known}"
                raise ValueError(message) from None
        return number


class SevPolicy(_Policy):
    """The 32-bit policy of SEV and SEV-ES (SEV API specification, chapter 3).

    Bits 16 to 31 hold the least firmware version and bear no names.
    """

    NODBG = 1 << 0
    NOKS = 1 << 1
    ES = 1 << 2
    NOSEND = 1 << 3
    DOMAIN = 1 << 4
    SEV = 1 << 5

    @property
    def debug(self) -> bool:
        """Whether the host may read the guest's memory for debugging."""
        return not self & SevPolicy.NODBG

    def format(self) -> str:
        """Write the policy as stock Nova does: ``0x0033``."""
        return f"{int(self):#06x}"


class SnpPolicy(_Policy):
    """The 64-bit policy of SEV-SNP (SEV-SNP firmware ABI, revision 1.58, 4.3).

    Bits 0 to 15 hold the least version of that ABI and bear no names. Firmware
    and kernels older than a bit refuse to launch a guest that sets it.
    """

    SMT = 1 << 16
    #: Reserved, and must be one.
    RSVD_MBO = 1 << 17
    MIGRATE_MA = 1 << 18
    DEBUG = 1 << 19
    SINGLE_SOCKET = 1 << 20
    CXL_ALLOW = 1 << 21
    MEM_AES_256_XTS = 1 << 22
    RAPL_DIS = 1 << 23
    CIPHERTEXT_HIDING_DRAM = 1 << 24
    PAGE_SWAP_DISABLE = 1 << 25

    @property
    def debug(self) -> bool:
        """Whether the host may read the guest's memory for debugging."""
        return bool(self & SnpPolicy.DEBUG)

    def format(self) -> str:
        """Write the policy as stock Nova does: ``0x00030000``."""
        return f"{int(self):#010x}"


#: An attribute of an enum would be one of its bits.
_RULES: dict[type[_Policy], _Rules] = {
    SevPolicy: _Rules("a SEV policy", bits=32, reserved=0x0000_FFC0),
    SnpPolicy: _Rules(
        "a SEV-SNP policy",
        bits=64,
        reserved=(1 << 64) - (1 << 26),
        always=int(SnpPolicy.RSVD_MBO),
    ),
}

#: No debugging, no key sharing, bound to this host: stock Nova's since Train.
DEFAULT_SEV_POLICY = SevPolicy.NODBG | SevPolicy.NOKS | SevPolicy.DOMAIN | SevPolicy.SEV
#: The same with the registers encrypted: stock Nova's since 32.0.0.
DEFAULT_SEV_ES_POLICY = DEFAULT_SEV_POLICY | SevPolicy.ES
#: Simultaneous multithreading allowed: stock Nova's since 34.0.0.
DEFAULT_SNP_POLICY = SnpPolicy.SMT | SnpPolicy.RSVD_MBO
