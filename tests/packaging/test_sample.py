# SPDX-License-Identifier: Apache-2.0

"""etc/nova.conf.sample is what the generator makes of the options."""

from pathlib import Path

from installations import ROOT
from oslo_config import generator


def test_sample_is_up_to_date(tmp_path: Path) -> None:
    config = ROOT / "etc" / "sev_driver-config-generator.conf"
    made = tmp_path / "nova.conf.sample"
    generator.main(["--config-file", str(config), "--output-file", str(made)])
    kept = (ROOT / "etc" / "nova.conf.sample").read_text()
    assert made.read_text() == kept, "run `make sample`"
