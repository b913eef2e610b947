# SPDX-License-Identifier: Apache-2.0

"""What sev-doctor imports before it knows what it is to do."""

import subprocess
import sys

PROGRAM = """
import sys, sev_driver.cmd.doctor
print(*(name for name in sys.modules if name.startswith("sev_driver.doctor.cloud")))
"""


def test_a_check_of_this_host_imports_nothing_of_clouds() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )
    assert run.stdout.strip() == ""
