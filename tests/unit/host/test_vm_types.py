# SPDX-License-Identifier: Apache-2.0
"""kvm: what the bits of KVM_CAP_VM_TYPES say, and when they say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.host.facts import VmTypes
from sev_driver.model import MemoryEncryptionModel

SEV, SEV_ES, SEV_SNP = MemoryEncryptionModel


@pytest.mark.parametrize(
    ("bits", "sev", "es", "snp"),
    [
        (0, None, None, None),
        (0b1, None, None, None),  # kernel 6.6, or a virtual machine
        (0b11, None, None, None),  # with software-protected guests
        (0b101, True, False, False),
        (0b1101, True, True, False),
        (0b11101, True, True, True),
        (0b10101, True, False, True),  # firmware that refuses SEV-ES beside SEV-SNP
        (0b100000, None, None, None),  # Intel TDX
    ],
)
def test_bits(bits: int, sev: bool | None, es: bool | None, snp: bool | None) -> None:
    types = VmTypes(bits)
    assert [types.offers(model) for model in (SEV, SEV_ES, SEV_SNP)] == [sev, es, snp]


@given(st.integers(0, 2**31 - 1))
def test_all_models_are_told_or_none(bits: int) -> None:
    told = {VmTypes(bits).offers(model) is None for model in MemoryEncryptionModel}
    assert told == {not VmTypes(bits).reports_sev}
