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
"""reading: what comes of a host that answers slowly."""

import os
import pathlib

import pytest

from sev_driver.doctor import reading
from sev_driver.files import HERE


def test_a_slow_dmesg_is_unknown(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "dmesg"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(reading, "_DMESG_SECONDS", 0.1)
    log = reading.fact(lambda: reading.kernel_log(HERE))
    assert log.unknown == "dmesg was not done in 0.1 s"
