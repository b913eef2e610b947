# SPDX-License-Identifier: Apache-2.0
"""Which lines of a cloud's logs are shown with a test that failed."""

import pytest
from cloud_logs import LONGEST, MOST, telling

TIME = "2026-11-29 02:37:23.782 284"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"{TIME} ERROR nova.compute.manager [-] it broke", True),
        (f"{TIME} WARNING nova.virt.libvirt.driver [-] it may break", True),
        (f"{TIME} INFO nova.filters [-] Filter ComputeFilter returned 0 hosts", True),
        (f"{TIME} INFO nova.scheduler [-] Got no allocation candidates from the", True),
        ("Sun Nov 29 02:37:23 2026: nova-compute ended with status 1", True),
        (f"{TIME} INFO nova.service [-] Starting compute node", False),
    ],
)
def test_telling_lines(line: str, shown: bool) -> None:
    assert telling([line]) == [line] * shown


def test_the_last_lines_are_shown_cut() -> None:
    lines = [f"{TIME} ERROR {number:0{LONGEST}}" for number in range(MOST + 1)]
    assert telling(lines) == [line[:LONGEST] for line in lines[1:]]
