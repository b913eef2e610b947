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

"""The guest policy of SEV and SEV-ES: what the host may do to the guest."""

import enum

_RESERVED_BITS = 0x0000_FFC0
_LIMIT = 1 << 32


class SevPolicy(enum.IntFlag, boundary=enum.KEEP):
    """Named bits of the 32-bit policy (SEV API specification, chapter 3).

    Bits 16 to 31 hold the least firmware version and bear no names.
    """

    NODBG = 1 << 0
    NOKS = 1 << 1
    ES = 1 << 2
    NOSEND = 1 << 3
    DOMAIN = 1 << 4
    SEV = 1 << 5

    @classmethod
    def parse(cls, text: str) -> "SevPolicy":
        """Read a policy as libvirt writes it: decimal, or hexadecimal with 0x.

        :raises ValueError: not a number of 32 bits, or a reserved bit is set.
        """
        number = int(text.strip(), 0)
        if not 0 <= number < _LIMIT:
            raise ValueError(f"a SEV policy has 32 bits, {text.strip()} has not")
        if number & _RESERVED_BITS:
            raise ValueError(f"SEV policy {number:#x} sets a reserved bit (6 to 15)")
        return cls(number)

    def format(self) -> str:
        """Write the policy as stock Nova does: ``0x0033``."""
        return f"{int(self):#06x}"


#: No debugging, no key sharing, bound to this host: stock Nova's since Train.
DEFAULT_SEV_POLICY = SevPolicy.NODBG | SevPolicy.NOKS | SevPolicy.DOMAIN | SevPolicy.SEV
