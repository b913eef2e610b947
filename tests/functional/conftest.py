# SPDX-License-Identifier: Apache-2.0

"""Functional tests: real Nova code with our driver in it."""

import gc
import importlib.metadata
import os
import pathlib
from collections.abc import Iterator

import pytest

# Nova's services run on native threads from 34 on, and on eventlet before it.
# Left alone, Nova's functional tests always have eventlet patch this process,
# and with it all tests of other folders.
# It must be said before anything of Nova is imported.
os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = str(
    int(importlib.metadata.version("nova").partition(".")[0]) >= 34
)

import nova.tests.functional  # noqa: F401
import nova_cloud
from lxml import etree
from nova.conf import CONF
from nova_cloud import Cloud
from with_driver import SEV_DRIVER

#: What libvirt itself validates domains with.
SCHEMA = pathlib.Path("/usr/share/libvirt/schemas/domain.rng")
HERE = pathlib.Path(__file__).parent
#: The options that tests set for one host, and their groups.
OF_A_HOST = (
    ("num_memory_encrypted_guests", "libvirt"),
    ("num_sev_es_guests", "sev"),
    ("prepare_for_stock_nova", "sev"),
    ("slots_on_root_provider", "sev"),
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "functional: real Nova services in one process, with our driver"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.functional)


@pytest.fixture(autouse=True, scope="session")
def folder_of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Made now: Nova's tests have a TMPDIR of their own, which goes with each."""
    tmp_path_factory.getbasetemp()


@pytest.fixture(autouse=True, scope="session")
def garbage_collected_less() -> Iterator[None]:
    """Nova's imports and fixtures leave millions of objects.

    To look at all of them again and again took a sixth of these tests' processor time.
    """
    usual = gc.get_threshold()
    gc.set_threshold(20_000, 20, 20)
    yield
    gc.set_threshold(*usual)


@pytest.fixture(autouse=True, scope="session")
def nova_finds_its_etc() -> Iterator[None]:
    """Nova's fixtures look for ``etc/nova`` beside the package, as in a checkout.

    A wheel puts these files elsewhere, such as ``<venv>/etc/nova``; the record
    of what was installed tells where, whatever kind of environment this is.
    """
    from nova.conf import paths

    def installed(*parts: str) -> str:
        path = pathlib.PurePosixPath(*parts)
        for file in importlib.metadata.files("nova") or ():
            if file.parts[-len(path.parts) :] == path.parts:
                return str(pathlib.Path(str(file.locate())).resolve())
        return original(*parts)

    original = paths.state_path_def
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "state_path_def", installed)
        yield


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with nova_cloud.cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(shared: Cloud) -> Cloud:
    shared.defined.clear()
    shared.attached.clear()
    return shared


@pytest.fixture(scope="module")
def shared_without_compute() -> Iterator[Cloud]:
    with nova_cloud.cloud(compute=False) as cloud:
        yield cloud


@pytest.fixture
def empty_cloud(shared_without_compute: Cloud) -> Iterator[Cloud]:
    """A cloud without hosts; the settings of those that a test starts end with it."""
    cloud = shared_without_compute
    yield cloud
    cloud.kvm_parameters.sev = True
    cloud.kvm_parameters.sev_es = cloud.kvm_parameters.sev_snp = False
    cloud.use_driver(SEV_DRIVER)
    for option, group in OF_A_HOST:
        CONF.clear_override(option, group=group)


@pytest.fixture(scope="module")
def schema() -> etree.RelaxNG:
    if not SCHEMA.exists():
        pytest.skip(f"no {SCHEMA}: libvirt is not installed")
    return etree.RelaxNG(etree.parse(SCHEMA))
