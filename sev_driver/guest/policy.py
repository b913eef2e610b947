# SPDX-License-Identifier: Apache-2.0

"""Guest policies, which say what the host may do with a guest, as named bits."""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import TypeVar

_SEPARATORS = re.compile(r"[|,\s]+")

#: The longest text of a number: 64 bits, in any notation.
_DIGITS = 80


_P = TypeVar("_P", bound="_Policy")


@dataclasses.dataclass(frozen=True)
class _Rules:
    """The bits of a type of policy.

    ``bits`` is their number, ``reserved`` must be 0, ``always`` must be 1. A set bit of
    ``stricter`` forbids the host something, one of ``weaker`` allows it something.
    ``major`` and ``minor`` are the offsets of the two bytes of the minimum version.
    """

    title: str
    bits: int
    reserved: int
    stricter: int
    weaker: int
    major: int
    minor: int
    always: int = 0


class _Policy(enum.IntFlag):
    """Base of both types of policy: parsing and comparison."""

    @classmethod
    def parse(cls: type[_P], text: str) -> _P:
        """Parse a policy.

        :param text: a number, decimal or hexadecimal with ``0x``; or names of bits,
            such as ``NODBG|NOKS``, separated by ``|``, commas or blanks.
        :raises ValueError: ``text`` is neither, too large, or a reserved bit is wrong.
        """
        text = text.strip()
        named = not text[:1].isdigit()
        return cls.of_number(cls._by_names(text) if named else cls._by_number(text))

    @classmethod
    def of_number(cls: type[_P], number: int) -> _P:
        """Return the policy of a number.

        :raises ValueError: the number is too large, or a reserved bit is wrong.
        """
        rules = _RULES[cls]
        if number >= 1 << rules.bits:
            raise ValueError(
                f"{rules.title} has {rules.bits} bits, the number has more"
            )
        if number & rules.reserved:
            raise ValueError(f"{rules.title} {number:#x} sets reserved bits")
        missing = rules.always & ~number
        if missing:
            raise ValueError(
                f"{rules.title} {number:#x} lacks {missing:#x}, which must be set"
            )
        return cls(number)

    def has(self, bit: _Policy) -> bool:
        """Return whether ``bit`` is set, without the slow arithmetic of enums."""
        return bool(int(self) & int(bit))

    def weaknesses(self: _P, required: _P) -> tuple[str, ...]:
        """Return the names of the bits by which this policy is weaker than required.

        The result is empty if this policy is as strict or stricter. ``VERSION`` stands
        for the minimum version of the SEV firmware.
        """
        if self == required:
            return ()  # All that this driver has made; arithmetic of enums is slow.
        rules = _RULES[type(self)]
        strict = required & ~self & rules.stricter
        loose = self & ~required & rules.weaker
        wrong = int(strict | loose)
        names = [bit.name for bit in type(self) if bit & wrong and bit.name]
        if self._version() < required._version():
            names.append("VERSION")
        return tuple(names)

    def _version(self) -> tuple[int, int]:
        """Return the minimum version of the SEV firmware's ABI, major and minor."""
        rules = _RULES[type(self)]
        return (int(self) >> rules.major & 0xFF, int(self) >> rules.minor & 0xFF)

    @classmethod
    def _by_number(cls, text: str) -> int:
        try:
            if len(text) > _DIGITS:
                raise ValueError("longer than any policy")
            return int(text, 0)
        except ValueError:
            message = f"{text[:40]!r} is not a number such as 51 or 0x33"
            raise ValueError(message) from None

    @classmethod
    def _by_names(cls, text: str) -> int:
        number = _RULES[cls].always
        for name in _SEPARATORS.split(text):
            try:
                number |= cls[name.upper()]
            except KeyError:
                known = ", ".join(bit.name for bit in cls if bit.name)
                title = _RULES[cls].title
                message = f"{name[:40]!r} is not a bit of {title}: use {known}"
                raise ValueError(message) from None
        return number


class SevPolicy(_Policy):
    """The 32-bit policy of SEV and SEV-ES (SEV API specification, chapter 3).

    Bits 16 to 31 are the minimum version of the SEV firmware; they have no names.
    """

    NODBG = 1 << 0
    NOKS = 1 << 1
    ES = 1 << 2
    NOSEND = 1 << 3
    DOMAIN = 1 << 4
    SEV = 1 << 5

    @property
    def debug(self) -> bool:
        """True if the host may debug the guest, and so read its memory."""
        return not self.has(SevPolicy.NODBG)

    def format(self) -> str:
        """Return the policy as Nova formats it, such as ``0x0033``."""
        return f"{int(self):#06x}"


class SnpPolicy(_Policy):
    """The 64-bit policy of SEV-SNP (SEV-SNP firmware ABI, revision 1.58, 4.3).

    Bits 0 to 15 are the minimum version of that ABI; they have no names. SEV firmware
    and kernels that do not know a bit do not launch a guest that sets it.
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
        """True if the host may debug the guest, and so read its memory."""
        return self.has(SnpPolicy.DEBUG)

    def format(self) -> str:
        """Return the policy as Nova formats it, such as ``0x00030000``."""
        return f"{int(self):#010x}"


#: Not an attribute of the enums, where it would be a bit.
_RULES: dict[type[_Policy], _Rules] = {
    SevPolicy: _Rules(
        "a SEV policy",
        bits=32,
        reserved=0x0000_FFC0,
        stricter=0x3F,
        weaker=0,
        major=16,
        minor=24,
    ),
    SnpPolicy: _Rules(
        "a SEV-SNP policy",
        bits=64,
        reserved=(1 << 64) - (1 << 26),
        stricter=int(
            SnpPolicy.SINGLE_SOCKET
            | SnpPolicy.MEM_AES_256_XTS
            | SnpPolicy.RAPL_DIS
            | SnpPolicy.CIPHERTEXT_HIDING_DRAM
            | SnpPolicy.PAGE_SWAP_DISABLE
        ),
        weaker=int(
            SnpPolicy.SMT | SnpPolicy.MIGRATE_MA | SnpPolicy.DEBUG | SnpPolicy.CXL_ALLOW
        ),
        major=8,
        minor=0,
        always=int(SnpPolicy.RSVD_MBO),
    ),
}

#: No debugging, no key sharing, bound to this host: Nova's default since Train.
DEFAULT_SEV_POLICY = SevPolicy.NODBG | SevPolicy.NOKS | SevPolicy.DOMAIN | SevPolicy.SEV
#: The same with encrypted registers: Nova's default since 32.0.0.
DEFAULT_SEV_ES_POLICY = DEFAULT_SEV_POLICY | SevPolicy.ES
#: Simultaneous multithreading is allowed: Nova's default since 34.0.0.
DEFAULT_SNP_POLICY = SnpPolicy.SMT | SnpPolicy.RSVD_MBO
