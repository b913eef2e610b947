# SPDX-License-Identifier: Apache-2.0

"""Marks each test with the name of its folder: ``pytest -m "not e2e"``."""

from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from cloud_logs import CloudLogs

from sev_driver.host import kernel

# A busy machine is no reason to fail: the tests of several releases run at once.
hypothesis.settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unhurried")

HERE = Path(__file__).parent
LOGS = pytest.StashKey[CloudLogs]()
FOLDERS = {
    "unit": "the driver's modules, one at a time",
    "functional": "real Nova code with our driver in it",
    "packaging": "the wheel, the sample of nova.conf, the set-up",
    "devcloud": "the one-machine cloud's parts",
    "fuzz": "the parsers, before hostile input",
    "faults": "programs of a cloud killed, its disks filled; needs root",
    "e2e": "the one-machine cloud as a whole; needs root",
}


#: Fixtures that are clouds for all files of a folder.
CLOUDS = ("the_cloud", "the_lab")


def pytest_configure(config: pytest.Config) -> None:
    for name, what in FOLDERS.items():
        config.addinivalue_line("markers", f"{name}: {what}")
    # Where pytest-xdist is not installed.
    config.addinivalue_line("markers", "xdist_group: tests for one process")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    groups = groups_of_files(items)
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in FOLDERS:
            item.add_marker(folder)
        item.add_marker(pytest.mark.xdist_group(groups[item.path]))


def groups_of_files(items: list[pytest.Item]) -> dict[Path, str]:
    """Return where each file runs with ``--dist=loadgroup``.

    The files that share a cloud run in one process: two would have two of it.
    """
    groups: dict[Path, str] = {}
    for item in items:
        file = item.path.relative_to(HERE)
        groups.setdefault(item.path, str(file))
        for name in CLOUDS:
            if name in getattr(item, "fixturenames", ()):
                groups[item.path] = f"{file.parts[0]}/{name}"
    return groups


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # The group, which no command line takes as part of a test's name.
    name, _, group = report.nodeid.rpartition("@")
    if name and not group.endswith("]"):
        report.nodeid = name


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    item.stash[LOGS] = CloudLogs()
    item.stash[LOGS].begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (logs := item.stash.get(LOGS, None)):
        report.sections.append(("the cloud's logs", logs.report(item)))
    return report


@pytest.fixture(autouse=True, scope="module")
def unknown_system(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show the driver nothing of this machine: its processor, its kernel's log.

    Of a module, because the functional tests of a module share a cloud.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.path.relative_to(HERE).parts[0] in ("unit", "functional"):
            nowhere = Path("/nonexistent")
            for name in ("PROC", "MODULES", "PSP_DRIVER", "IOMMU_GROUPS", "KERNEL_LOG"):
                patch.setattr(kernel, name, nowhere)
        yield
