# SPDX-License-Identifier: Apache-2.0

"""ownership: whose processes, files and programs root's doctor believes."""

import os
import pathlib
import shutil
import time
from collections.abc import Iterator

import pytest

from sev_driver.doctor.host import ownership

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files")
NOBODY = 65534


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    monkeypatch.setattr(ownership, "UNIT_DIRECTORIES", (str(tmp_path),))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "users"),
    [
        ("nova-compute.service", "[Service]\nUser=nobody\n", ["nobody"]),
        ("openstack-nova-compute.service", "[Service]\nUser = nobody\n", ["nobody"]),
        ("devstack@n-cpu.service", "[Service]\nUser=nobody\nGroup=x\n", ["nobody"]),
        ("nova-compute.service", "[Service]\nUser=a\nUser=nobody\n", ["nobody"]),
        ("nova-compute.service", "[Service]\nExecStart=/x\n", ["root"]),
        ("nova-compute.service", "[Service]\nUser=is-not-here\n", []),
        ("nova-api.service", "[Service]\nUser=nobody\n", []),
    ],
)
def test_user_of_the_unit(
    units: pathlib.Path, name: str, text: str, users: list[str]
) -> None:
    (units / name).write_text(text)
    assert [user for user in ownership.unit_users() if user != "nova"] == users


def test_what_an_administrator_adds_to_the_unit(units: pathlib.Path) -> None:
    (units / "nova-compute.service").write_text("[Service]\n")
    (units / "nova-compute.service.d").mkdir()
    added = units / "nova-compute.service.d/user.conf"
    added.write_text("[Service]\nUser=nobody\n")
    assert ownership.unit_users() == ["nobody", "root"]
    assert ownership.believed() == {0, NOBODY}
    os.chown(added, NOBODY, NOBODY)
    assert ownership.unit_users() == ["root"]


@pytest.fixture
def python() -> Iterator[pathlib.Path]:
    """An interpreter with its packages that nobody but root can change."""
    prefix = pathlib.Path("/root") / f"of-a-test-{os.getpid()}-{time.monotonic_ns()}"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python3").write_text("")
    packages = prefix / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    (packages / "six.py").write_text("")
    try:
        yield prefix / "bin/python3"
    finally:
        shutil.rmtree(prefix)


def test_python_that_only_root_can_change(python: pathlib.Path) -> None:
    assert ownership.changeable_by_others(str(python)) is None


@pytest.mark.parametrize(
    "path",
    [
        "bin/python3",
        "bin",
        "lib/python3.11",
        "lib/python3.11/site-packages",
        "lib/python3.11/site-packages/six.py",
    ],
)
@pytest.mark.parametrize("how", ["owned", "group", "world"])
def test_python_that_others_can_change(
    python: pathlib.Path, path: str, how: str
) -> None:
    changed = python.parents[1] / path
    if how == "world":
        changed.chmod(0o777)
    elif how == "group":
        os.chown(changed, 0, NOBODY)
        changed.chmod(0o775)
    else:
        os.chown(changed, NOBODY, 0)
    assert ownership.changeable_by_others(str(python)) == str(changed)


@pytest.mark.parametrize("link", [True, False])
def test_directory_that_a_package_or_pth_file_names(
    python: pathlib.Path, tmp_path: pathlib.Path, link: bool
) -> None:
    packages = python.parents[1] / "lib/python3.11/site-packages"
    tmp_path.chmod(0o777)
    if link:
        (packages / "nova").symlink_to(tmp_path)
    else:
        (packages / "easy.pth").write_text(f"import x\n# y\n{tmp_path}\n")
    found = ownership.changeable_by_others(str(python))
    assert found is not None
    assert found in [str(tmp_path), *map(str, tmp_path.parents)]
