# SPDX-License-Identifier: Apache-2.0

"""nova_compat.PRIVATE_NAMES against the Nova installed here, and against our code."""

import ast
import inspect
import pathlib
import re
from collections.abc import Iterator

import pytest
from nova.compute import manager
from nova.objects import fields
from nova.virt.libvirt import driver, guest, host

import sev_driver
from sev_driver.compute import nova_compat
from sev_driver.compute.nova_compat import PRIVATE_NAMES, PrivateName
from sev_driver.driver import SEVDriver
from sev_driver.nova_release import NovaRelease

PACKAGE = pathlib.Path(sev_driver.__file__).parent
CLASSES = {
    "LibvirtDriver": driver.LibvirtDriver,
    "Host": host.Host,
    "Guest": guest.Guest,
    "ComputeVirtAPI": manager.ComputeVirtAPI,
    "ComputeManager": manager.ComputeManager,
}
#: The only module that may name what is private in another object.
COMPAT = PACKAGE / "compute" / "nova_compat.py"


def nova_has(name: PrivateName) -> bool:
    """Whether the class has a method or sets an attribute of this name."""
    owner = CLASSES[name.owner]
    source = inspect.getsource(owner.__init__)
    sets = re.search(rf"\bself\.{name.name}\b[^=\n]*=", source)
    return hasattr(owner, name.name) or sets is not None


@pytest.mark.parametrize("name", PRIVATE_NAMES, ids=lambda each: str(each.name))
def test_installed_nova_has_the_names_of_its_release(name: PrivateName) -> None:
    installed = nova_compat.installed_release().number
    until = installed if name.until is None else name.until
    assert nova_has(name) == (name.since <= installed <= until)


def trees() -> Iterator[tuple[pathlib.Path, ast.AST]]:
    for path in [*(PACKAGE / "compute").glob("*.py"), PACKAGE / "driver.py"]:
        yield path, ast.parse(path.read_text())


def test_private_names_of_other_objects_stand_in_nova_compat_alone() -> None:
    found = [
        f"{path.name}: {ast.unparse(node)}"
        for path, tree in trees()
        if path != COMPAT
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and re.match(r"_[a-z]", node.attr)
        and ast.unparse(node.value) not in ("self", "cls", "super()")
    ]
    assert not found


def test_overridden_private_methods_are_listed() -> None:
    listed = {name.name for name in PRIVATE_NAMES if name.owner == "LibvirtDriver"}
    overridden = {
        name
        for name in vars(SEVDriver)
        if re.match(r"_[a-z]", name) and hasattr(driver.LibvirtDriver, name)
    }
    assert overridden - {"_abc_impl"} <= listed


def test_every_listed_name_is_used() -> None:
    text = COMPAT.read_text().partition("PRIVATE_NAMES")[2].partition("\n)\n")[2]
    text += "".join(path.read_text() for path, _ in trees() if path != COMPAT)
    unused = [name.name for name in PRIVATE_NAMES if name.name not in text]
    assert not unused


def test_installed_release_knows_the_models_of_the_table() -> None:
    """A Nova that is newer than the table may know more."""
    release = nova_compat.installed_release()
    models = getattr(fields, "MemEncryptionModel", None)
    assert release.models == frozenset(getattr(models, "ALL", ()))
    assert release.models >= NovaRelease(release.number).models
    assert {m.value for m in release.foreign_models} <= release.models
