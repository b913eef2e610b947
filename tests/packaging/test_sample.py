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
