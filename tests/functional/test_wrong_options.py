# SPDX-License-Identifier: Apache-2.0

"""nova-compute ends when it loads the driver, if an option has a wrong value."""

import pathlib
import subprocess
import sys

LOAD = """
import sys
from nova import config
config.parse_args(["nova-compute", "--config-file", sys.argv[1]])
from nova.virt import driver
driver.load_compute_driver(None)
"""


def test_an_option_that_is_read_later(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "nova.conf"
    path.write_text(
        "[DEFAULT]\ncompute_driver = sev_driver.SEVDriver\n"
        f"state_path = {tmp_path}\n[sev]\naudit_interval = -3\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, str(path)],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "Value for option audit_interval from" in ended.stderr
    assert "Should be greater than or equal to 0" in ended.stderr
