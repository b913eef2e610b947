# SPDX-License-Identifier: Apache-2.0

"""The Debian package beside Debian's own nova-compute: it is found without a link."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from installations import LOAD, ROOT

SITE = "usr/lib/python3/dist-packages"
# As nova-compute of Debian reads it, whose file sets Nova's own driver.
CONF = "/etc/nova/nova-compute.conf"
LOAD_BY_CONF = LOAD.replace(
    "default_config_files=[]", f'default_config_files=["{CONF}"]'
).replace('"sev_driver.SEVDriver"', "None")


@pytest.fixture(scope="module")
def deb(request: pytest.FixtureRequest) -> ModuleType:
    """tools/deb.py, where Debian's packages are unpacked."""
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    patch.syspath_prepend(str(ROOT / "tools"))
    import deb as module

    if not (module.FOLDER / "ready").exists():
        pytest.skip("Debian's Nova is not unpacked: make deb")
    return module


@pytest.fixture(scope="module")
def package(deb: ModuleType) -> Path:
    """The package that `make deb` has built; older than this tree is no package."""
    packages = list(deb.DIST.glob("python3-sev-driver_*.deb"))
    if not packages:
        pytest.skip("the Debian package is not built: make deb")
    return packages[0]


@pytest.fixture
def system(deb: ModuleType, tmp_path: Path) -> Iterator[Path]:
    """A Debian 13 with Nova's packages, of links to the files of the unpacked one."""
    root = deb.FOLDER.with_name(f"{deb.FOLDER.name}.test")
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-al", deb.FOLDER, root], check=True)
    # dpkg replaces its files; what is written in place must not be a link.
    conf = root / CONF.lstrip("/")
    text = conf.read_text().replace("libvirt.LibvirtDriver", "sev_driver.SEVDriver")
    assert "compute_driver=sev_driver.SEVDriver" in text.replace(" ", "")
    conf.unlink()
    conf.write_text(text)
    yield root
    shutil.rmtree(root, ignore_errors=True)


def test_package_holds_one_file_below_nova(package: Path) -> None:
    listed = subprocess.run(
        ["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True
    )
    paths = {
        line.split(None, 5)[5].removeprefix("./") for line in listed.stdout.splitlines()
    }
    files = {path for path in paths if path and not path.endswith("/")}
    below_nova = {path for path in files if path.startswith(f"{SITE}/nova/")}
    assert below_nova == {f"{SITE}/nova/virt/sev_driver/__init__.py"}
    assert {
        f"{SITE}/sev_driver/driver.py",
        f"{SITE}/sev_driver/doctor/schema.json",
        "usr/bin/sev-doctor",
        "usr/bin/sev-capabilities",
        "usr/bin/sev-driver-link",
        "usr/bin/sev-owner",
        "usr/share/bash-completion/completions/sev-doctor",
    } <= files


def test_package_needs_debians_nova(package: Path) -> None:
    fields = subprocess.run(
        ["dpkg-deb", "--field", package, "Depends"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {name.split()[0] for name in fields.stdout.strip().split(", ")}
    assert names >= {"python3-nova", "python3-libvirt", "python3-lxml", "python3:any"}


def test_nova_compute_finds_the_driver_without_a_link(
    deb: ModuleType, package: Path, system: Path
) -> None:
    nova = ["python3", "-W", "ignore", "-c", LOAD_BY_CONF]
    with pytest.raises(subprocess.CalledProcessError) as failed:
        deb.inside(system, *nova)
    assert "No module named 'nova.virt.sev_driver'" in failed.value.output

    shutil.copy(package, system / "sev_driver.deb")
    # dpkg installs nothing whose dependencies are not there.
    deb.inside(system, "dpkg", "--install", "/sev_driver.deb")

    loaded = deb.inside(system, *nova)
    assert loaded.splitlines()[-1] == f"/{SITE}/nova/virt/sev_driver/__init__.py"
    assert "Nothing to link" in deb.inside(system, "sev-driver-link")
    version = package.name.split("_")[1].rpartition("-")[0].replace("~", ".")
    assert deb.inside(system, "sev-doctor", "--version").split() == [
        "sev-doctor",
        version,
    ]

    with pytest.raises(subprocess.CalledProcessError) as kept:
        deb.inside(system, "sev-driver-link", "--remove")
    assert "    apt-get remove python3-sev-driver\n" in kept.value.output

    deb.inside(system, "dpkg", "--remove", "python3-sev-driver")
    assert not (system / SITE / "nova/virt/sev_driver").exists()
    assert (system / SITE / "nova/virt/driver.py").exists()
    with pytest.raises(subprocess.CalledProcessError):
        deb.inside(system, *nova)
