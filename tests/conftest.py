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

"""Marks each test with the name of its folder: ``pytest -m "not e2e"``."""

from pathlib import Path

import hypothesis
import pytest

# A busy machine is no reason to fail: the tests of several releases run at once.
hypothesis.settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unhurried")

HERE = Path(__file__).parent
FOLDERS = {
    "unit": "the driver's modules, one at a time",
    "functional": "real Nova code with our driver in it",
    "packaging": "the wheel, the sample of nova.conf, the set-up",
    "devcloud": "the one-machine cloud's parts",
    "fuzz": "the parsers, before hostile input",
    "faults": "programs of a cloud killed, its disks filled; needs root",
    "e2e": "the one-machine cloud as a whole; needs root",
}


def pytest_configure(config: pytest.Config) -> None:
    for name, what in FOLDERS.items():
        config.addinivalue_line("markers", f"{name}: {what}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in FOLDERS:
            item.add_marker(folder)
