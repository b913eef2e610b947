# SPDX-License-Identifier: Apache-2.0

"""Marks each test with the name of its folder: ``pytest -m "not e2e"``."""

import contextlib
import os
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
ENDS = pytest.StashKey[contextlib.ExitStack]()
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


# Before pytest-xdist, which writes the group into the test's name.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in FOLDERS:
            item.add_marker(folder)
        item.add_marker(pytest.mark.xdist_group(group(item)))


def pytest_collection_finish(session: pytest.Session) -> None:
    # Without groups each process would start each cloud, and no test would fail.
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            assert item.nodeid.endswith(f"@{group(item)}"), item.nodeid


def group(item: pytest.Item) -> str:
    """Return with which others a test runs with ``--dist=loadgroup``.

    Those that share a cloud run in one process: two would have two of it. The others
    run with their file.
    """
    file = item.path.relative_to(HERE)
    for name in CLOUDS:
        if name in getattr(item, "fixturenames", ()):
            return f"{file.parts[0]}/{name}"
    return str(file)


@pytest.fixture(scope="session")
def until_next_group(request: pytest.FixtureRequest) -> Iterator[contextlib.ExitStack]:
    """Ends what a group of files shares: a cloud that nobody uses takes its processor
    from those that follow.

    Without pytest-xdist groups are not kept together, and all end with the session.
    """
    with request.config.stash.setdefault(ENDS, contextlib.ExitStack()) as stack:
        yield stack


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    yield
    # One of pytest-xdist's processes, which keep groups together.
    grouped = getattr(item.config.option, "loadgroup", False)
    ends = item.config.stash.get(ENDS, None)
    if ends and grouped and nextitem and group(item) != group(nextitem):
        ends.close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # The group, which no command line takes as part of a test's name. Between
    # pytest-xdist's processes it is one.
    name, _, suffix = report.nodeid.rpartition("@")
    if name and not suffix.endswith("]") and "PYTEST_XDIST_WORKER" not in os.environ:
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
