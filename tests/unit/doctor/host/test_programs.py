# SPDX-License-Identifier: Apache-2.0

"""programs: a program has so much time, and may print so much."""

import time

import pytest

from sev_driver.doctor.host import programs
from sev_driver.exceptions import DetectionError


def test_what_it_prints_and_how_it_ends() -> None:
    command = ["/bin/sh", "-c", "cat; echo bad >&2; exit 3"]
    found = programs.run(command, 20, input_text=b"read")
    assert found == (3, "read", "bad\n")


def test_program_that_prints_without_end_is_stopped() -> None:
    with pytest.raises(DetectionError, match="yes printed more than 4194304 bytes"):
        programs.run(["/usr/bin/yes"], 60)


@pytest.mark.parametrize(
    "command", ["sleep 60", "sleep 60 & exit", "exec >&- 2>&-; sleep 60"]
)
def test_program_that_does_not_end_is_stopped(command: str) -> None:
    start = time.monotonic()
    with pytest.raises(DetectionError, match="sh did not end within"):
        programs.run(["/bin/sh", "-c", command], 0.2)
    assert time.monotonic() - start < 30


def test_program_that_is_not_there() -> None:
    with pytest.raises(DetectionError, match="/nowhere cannot be run: No such file"):
        programs.run(["/nowhere"], 1)
