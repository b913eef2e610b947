# SPDX-License-Identifier: Apache-2.0

"""memory: the specs' arithmetic."""

import pytest

from sev_driver.host import memory


def test_the_specs_formula() -> None:
    # 10832 KiB of regions and at least 256 KiB of padding make one times 16 MiB.
    assert memory.spec_overhead_mib(video_ram_mib=0) == 16
    assert memory.spec_overhead_mib() == 32


@pytest.mark.parametrize(
    ("guests", "at_least", "with_ease"),
    [(0, 0, 0), (1, 32, 256), (15, 480, 3840), (509, 16288, 130304)],
)
def test_what_to_reserve(guests: int, at_least: int, with_ease: int) -> None:
    advice = memory.advise(guests)
    assert (advice.minimum_mib, advice.recommended_mib) == (at_least, with_ease)


@pytest.mark.parametrize(
    ("total", "own", "guest", "slots", "fit"),
    [
        # 252 GiB for guests of 16.25 GiB each: 15.5.
        (262144, 4096, 16384, 15, 15),
        (262144, 4096, 16384, 509, 15),
        (262144, 4096, 2048, 15, 15),
        (262144, 4096, 65536, 15, 3),
        (2048, 4096, 256, 15, 0),
        (262144, 0, 2048, 0, 0),
    ],
)
def test_as_many_fit_as_both_slots_and_memory_allow(
    total: int, own: int, guest: int, slots: int, fit: int
) -> None:
    assert memory.guests_that_fit(total, own, guest, slots) == fit


def test_by_the_specs_formula_more_fit() -> None:
    least = memory.spec_overhead_mib()
    assert memory.guests_that_fit(1048576, 8192, 2048, 509, least) == 500
    assert memory.guests_that_fit(1048576, 8192, 2048, 509) == 451
