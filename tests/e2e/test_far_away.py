# SPDX-License-Identifier: Apache-2.0
"""What sev-capabilities says of files is what the driver says of their host."""

import json
import subprocess
import sys
from pathlib import Path

from devcloud.testing import CloudFixture

REPOSITORY = Path(__file__).parents[2]


def test_it_concludes_what_the_driver_has_told_placement_and_the_log(
    cloud: CloudFixture, tmp_path: Path
) -> None:
    saved = tmp_path / "domcaps.xml"
    asked = ("domcapabilities", "--virttype", "kvm", "--machine", "q35")
    saved.write_text(cloud.virsh(*asked))
    command = [sys.executable, "-m", "sev_driver.cmd.capabilities"]
    command += ["--domain-capabilities", str(saved), "--kvm-parameter", "sev=Y"]

    run = subprocess.run(
        command, cwd=REPOSITORY, check=True, capture_output=True, text=True
    )

    verdict = json.loads(run.stdout)["models"]["amd-sev"]
    assert verdict["supported"] == "yes"
    total, _ = cloud.inventory()["node1_amd_sev"]
    assert verdict["slots"] == total
    told = f"AMD SEV is supported: {total} slots ({verdict['source']})."
    assert cloud.log().count(told) == 1


def test_what_the_host_has_not_switched_on_is_no_news(cloud: CloudFixture) -> None:
    lines = [line for line in cloud.log().splitlines() if "AMD SEV-" in line]
    off = [
        line for line in lines if " is not available on this host: /sys/module/" in line
    ]
    assert all(" DEBUG " in line for line in off), off
