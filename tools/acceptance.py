# SPDX-License-Identifier: Apache-2.0
"""Run the end-to-end tests that make sense on a host with real SEV, and write a report.

    tools/acceptance.py PYTEST...
    tools/acceptance.py --check     (only say whether this host has SEV)

The report has what sev-doctor says of the host and what the tests say. Beside it stands
what sev-doctor has read, as sev-doctor --save writes it.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from devcloud.simhost.host import is_real_sev_host  # noqa: E402

#: They change neither the hardware nor what the kernel shows of it.
TESTS = (
    "tests/e2e/test_encrypted_guest.py",
    "tests/e2e/test_life_of_a_guest.py",
    "tests/e2e/test_refusals.py",
    "tests/e2e/test_required_traits.py",
)

_NO_SEV = """\
acceptance: this machine has no working SEV, so there is nothing to accept. It needs a
kvm_amd with sev=Y and a /dev/sev that root can open; "sudo sev-doctor" says what is
missing. "make e2e" runs the same tests on a simulated host.
"""


def main(pytest: Sequence[str]) -> int:
    """Return 0 if all tests pass, 1 if not, 2 if this host has no SEV."""
    if not is_real_sev_host():
        sys.stderr.write(_NO_SEV)
        return 2
    if list(pytest) == ["--check"]:
        return 0
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    report = Path(f"acceptance-{now}.txt")
    saved = report.with_suffix(".json.gz")
    doctor = [sys.executable, "-m", "sev_driver.cmd.doctor"]
    with report.open("w", encoding="utf-8") as file:
        _run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], file)
        _run(["uname", "-a"], file)
        _run([*doctor, "--verbose", "--save", str(saved)], file)
        status = _run([*pytest, "-v", *TESTS], file)
    print(f"\nWrote {report} and {saved}: please send us both (CONTRIBUTING.rst).")
    return 1 if status else 0


def _run(command: Sequence[str], report: IO[str]) -> int:
    """Run a command, with its output here and in the report; return its status."""
    report.write(f"$ {' '.join(command)}\n")
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        report.write(f"{error}\n\n")
        return 127
    assert process.stdout is not None  # nosec B101  # for mypy
    with process.stdout:
        for line in process.stdout:
            sys.stdout.write(line)
            report.write(line)
    status = process.wait()
    report.write(f"[exit status {status}]\n\n")
    report.flush()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
