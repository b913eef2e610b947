# SPDX-License-Identifier: Apache-2.0

"""Servers whose image names a model that this Nova does not know.

Nova 27 to 31 keep such a value with a server, whatever it is, and Nova 34 knows
amd-sev-snp, which Nova 32 and 33 do not.
"""

import pathlib
import textwrap
from collections.abc import Iterator

import generations
import nova_cloud
import novas
import pytest
import sqlalchemy
from generations import IMAGES, SEV, SNP, asking
from nova import context as nova_context
from nova import objects
from nova.db.main import api as database
from nova_cloud import ASKERS, UEFI, Cloud, find, instance_of

KEY = "image_hw_mem_encryption_model"
knows_the_property = pytest.mark.skipif(
    novas.RELEASE < 32, reason="Nova takes any value of a property that it ignores"
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Cloud]:
    with (
        nova_cloud.cloud(compute=False) as cloud,
        generations.switched_on(cloud, SEV, generations.ES, SNP),
    ):
        generations.start(cloud)
        yield cloud


@knows_the_property
@pytest.mark.parametrize("asker", ["image", "flavor", "plain"])
def test_nova_compute_starts_and_serves_all_others(cloud: Cloud, asker: str) -> None:
    image, flavor = ASKERS.get(asker, (UEFI, {}))
    server = cloud.boot(image | {"hw_machine_type": "q35"}, flavor)
    instance = instance_of(server)
    instance.system_metadata[KEY] = "amd-sev-future"
    instance.save()

    cloud.restart()
    cloud._run_periodics()
    cloud._delete_server(cloud.boot())
    cloud.defined.clear()
    cloud.attempt(server, {"reboot": {"type": "HARD"}}, "ACTIVE")
    assert bool(cloud.defined) == (asker == "plain")
    if asker != "plain":
        assert "amd-sev-future, which is no model" in cloud.log
    cloud._delete_server(server)


@knows_the_property
def test_guest_of_nova_31_keeps_the_model_that_its_image_names(cloud: Cloud) -> None:
    server = cloud.boot(IMAGES[SNP], asking(SNP))
    instance = instance_of(server)
    # As Nova 31 had it: by the image alone, which Nova 32 and 33 cannot read.
    instance.flavor.extra_specs = {"hw:mem_encryption": "true"}
    instance.system_metadata[KEY] = "amd-sev-snp"
    instance.save()
    cloud.restart()
    cloud.defined.clear()
    cloud.hard_reboot(server)
    assert find(cloud.defined[0], "launchSecurity").get("type") == "sev-snp"
    cloud._delete_server(server)


@pytest.mark.skipif(novas.RELEASE > 31, reason="the API refuses, or Nova knows it")
def test_new_guest_that_nova_32_could_not_read_is_refused(cloud: Cloud) -> None:
    specs = asking(SNP)
    specs.pop("sev:model")
    image = IMAGES[SNP] | {"hw_mem_encryption_model": "amd-sev-snp"}
    server = cloud.boot(image, specs, state="ERROR")
    assert "Nova 32 and 33 cannot read" in cloud.fault(server)
    assert "sev:model=amd-sev-snp" in cloud.fault(server)
    cloud._delete_server(server)


MANUAL = pathlib.Path(__file__).parents[2] / "doc/source/admin/releases.rst"


def statements() -> tuple[str, str]:
    """Return what the manual has operators run: to find such servers, to fix them."""
    blocks = MANUAL.read_text().split(".. code-block:: sql\n\n")[1:]
    found, fixed = (
        textwrap.dedent(block.partition(";")[0]).strip() for block in blocks
    )
    return found, fixed


def test_statements_of_the_manual_make_servers_readable(cloud: Cloud) -> None:
    """In Nova's own schema; marked as deleted, a row is still read by Nova."""
    values = {"amd-sev-typo": False, "amd-sev-snp": False, "amd-sev-es": True}
    servers = {value: cloud.boot() for value in values}
    for value, server in servers.items():
        instance = instance_of(server)
        instance.system_metadata[KEY] = value
        instance.save()
    find_them, fix_them = statements()
    (cell,) = [
        cell
        for cell in objects.CellMappingList.get_all(nova_context.get_admin_context())
        if not cell.is_cell0()
    ]
    context = nova_context.get_admin_context()
    with nova_context.target_cell(context, cell) as in_cell:
        engine = database.get_engine(context=in_cell)
        with engine.begin() as connection:
            found = set(map(tuple, connection.execute(sqlalchemy.text(find_them))))
            connection.execute(sqlalchemy.text(fix_them))
            left = list(connection.execute(sqlalchemy.text(find_them)))
    assert found == {
        (server["id"], value) for value, server in servers.items() if not values[value]
    }
    assert not left
    for value, server in servers.items():
        metadata = instance_of(server).system_metadata
        assert metadata.get(KEY) == (value if values[value] else None)
        assert "image_base_image_ref" in metadata
        cloud.hard_reboot(server)
        cloud._delete_server(server)
