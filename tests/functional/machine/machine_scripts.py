# SPDX-License-Identifier: Apache-2.0

"""Scripts for the state machine's world: steps that broke a promise once, or might.

Each is what the state machine prints of a failure; what it checks after each step
is the world's to know.
"""

from __future__ import annotations

from collections.abc import Callable

import machine_kinds
from machine_kinds import IMAGES, RESCUE_IMAGES
from machine_world import World

#: Whether an image can name SEV-ES on this Nova.
ES_BY_IMAGE = "asking-es" in IMAGES


def life_of_an_encrypted_server(state: World) -> None:
    state.create(server="a", kind=("sev", "q35"), host="ours-1")
    state.hard_reboot(server="a")
    state.soft_reboot(server="a")
    state.stop(server="a")
    state.power_on(server="a")
    state.rebuild(server="a", image="uefi")
    state.rescue(server="a", image="rescue-pc")
    state.unrescue(server="a")
    state.migrate(server="a", host="ours-2")
    state.revert(server="a")
    state.migrate(server="a", host="ours-2")
    state.confirm(server="a")
    state.shelve(server="a")
    state.unshelve(server="a", host="ours-1")
    state.suspend(server="a")
    state.live_migrate(server="a")
    state.resize(server="a", flavor="plain", host="ours-2")
    state.confirm(server="a")


def one_server_of_each_kind(state: World) -> None:
    state.create(server="a", kind=("plain", "bios"), host="ours-1")
    state.create(server="b", kind=("es", "uefi"), host="ours-1")
    state.create(server="c", kind=("snp", "stateless"), host="ours-1")
    state.create(server="d", kind=("ours-held", "q35"), host="ours-1")
    state.create(server="e", kind=("plain", "asking"), host="ours-1")
    for server in "abcde":
        state.hard_reboot(server=server)
    state.restart(host="ours-1")
    state.evacuate(hosts=("ours-1", "ours-2"))


def sev_is_lost_and_comes_back(state: World) -> None:
    state.create(server="a", kind=("sev", "q35"), host="ours-1")
    state.create(server="b", kind=("plain", "bios"), host="ours-1")
    state.lose_sev(host="ours-1")
    state.power_on(server="a")
    state.power_on(server="b")
    state.regain_sev(host="ours-1")
    state.power_on(server="a")


def slots_run_out(state: World) -> None:
    state.foreign_guest(host="ours-1")
    state.create(server="a", kind=("sev", "q35"), host="ours-1")
    state.create(server="b", kind=("sev", "q35"), host="ours-1")
    state.create(server="c", kind=("sev", "q35"), host="ours-1")
    state.foreign_guest(host="ours-1")
    state.create(server="c", kind=("sev", "q35"), host="ours-1")


def rebuild_from_an_unfit_image(state: World) -> None:
    state.create(server="a", kind=("sev", "q35"), host="ours-1")
    state.rebuild(server="a", image="usb")
    state.hard_reboot(server="a")
    state.stop(server="a")
    state.power_on(server="a")
    state.shelve(server="a")
    state.unshelve(server="a", host="ours-2")


def rebuild_of_a_plain_server_from_an_asking_image(state: World) -> None:
    state.create(server="a", kind=("plain", "bios"), host="ours-1")
    state.rebuild(server="a", image="asking")
    state.rebuild(server="a", image="asking")
    state.hard_reboot(server="a")


def resize_to_what_the_image_rules_out(state: World) -> None:
    state.create(server="a", kind=("plain", "usb"), host="ours-1")
    state.resize(server="a", flavor="sev", host="ours-2")
    state.resize(server="a", flavor="ours-held", host="ours-2")


def move_of_our_key_to_stock_nova(state: World) -> None:
    state.create(server="a", kind=("ours", "q35"), host="ours-1")
    state.migrate(server="a", host="stock-1")
    state.resize(server="a", flavor="ours-held", host="stock-1")


def move_of_our_key_with_its_trait_to_stock_nova(state: World) -> None:
    state.create(server="a", kind=("ours-held", "q35"), host="ours-1")
    state.migrate(server="a", host="stock-1")
    state.evacuate(hosts=("ours-1", "stock-1"))
    state.shelve(server="a")
    state.unshelve(server="a", host="stock-1")


def there_and_back_between_both_drivers(state: World) -> None:
    state.create(server="a", kind=("sev", "q35"), host="stock-1")
    state.migrate(server="a", host="ours-1")
    state.revert(server="a")
    state.migrate(server="a", host="ours-1")
    state.confirm(server="a")
    state.migrate(server="a", host="stock-1")
    state.confirm(server="a")
    state.evacuate(hosts=("stock-1", "ours-1"))


def image_of_another_vendors_model(state: World) -> None:
    state.create(server="a", kind=("plain", "q35"), host="ours-1")
    state.rebuild(server="a", image="tdx")
    state.restart(host="ours-1")
    state.hard_reboot(server="a")


def rebuild_that_nova_conductor_refuses(state: World) -> None:
    state.create(server="a", kind=("plain", "asking"), host="ours-1")
    state.create(server="b", kind=("sev", "q35"), host="ours-1")
    state.create(server="c", kind=("plain", "bios"), host="ours-1")
    for server in "abc":
        state.rebuild(server=server, image="elsewhere")
    for server in "abc":
        state.hard_reboot(server=server)
    state.migrate(server="a", host="ours-2")
    state.evacuate(hosts=("ours-1", "ours-2"))
    state.power_on(server="a")
    state.shelve(server="a")
    state.rebuild(server="a", image="asking")
    state.evacuate(hosts=("ours-1", "ours-2"))


def rebuild_to_a_weaker_model_that_nova_conductor_refuses(state: World) -> None:
    for server in "ab":
        state.create(server=server, kind=("plain", "asking-es"), host="ours-1")
        state.rebuild(server=server, image="asking-elsewhere")
    state.hard_reboot(server="a")
    state.migrate(server="a", host="ours-2")
    state.shelve(server="a")
    state.evacuate(hosts=("ours-1", "ours-2"))
    state.power_on(server="a")
    state.rebuild(server="a", image="asking")
    state.rebuild(server="b", image="asking-es")
    for server in "ab":
        state.hard_reboot(server=server)
    state.evacuate(hosts=("ours-1", "ours-2"))
    state.shelve(server="a")
    state.unshelve(server="a", host="ours-1")
    state.resize(server="b", flavor="es", host="ours-1")
    state.revert(server="b")


def made_plain_and_evacuated(state: World) -> None:
    state.create(server="a", kind=("plain", "asking"), host="ours-1")
    state.create(server="b", kind=("sev", "q35"), host="ours-1")
    state.create(server="c", kind=("plain", "asking"), host="stock-1")
    state.rebuild(server="a", image="q35")
    state.resize(server="b", flavor="plain", host="ours-1")
    state.confirm(server="b")
    state.migrate(server="c", host="ours-1")
    state.confirm(server="c")
    state.evacuate(hosts=("ours-1", "ours-2"))
    state.evacuate(hosts=("ours-2", "stock-1"))
    state.rebuild(server="c", image="q35")
    state.evacuate(hosts=("stock-1", "ours-1"))


def servers_that_boot_from_a_volume(state: World) -> None:
    state.create(server="a", kind=("sev", "q35"), host="ours-1", bfv=True)
    state.create(server="b", kind=("plain", "asking"), host="ours-1", bfv=True)
    state.create(server="c", kind=("plain", "bios"), host="ours-1", bfv=True)
    # Nova 27's API answers the second with HTTP 500.
    for server in sorted(state.servers):
        state.rescue(server=server, image="rescue-stable")
        state.unrescue(server=server)
        state.rebuild(server=server, image="usb")
        state.hard_reboot(server=server)
    state.rebuild(server="a", image="uefi")
    state.migrate(server="a", host="ours-2")
    state.revert(server="a")
    if "b" in state.servers:
        state.shelve(server="b")
        state.unshelve(server="b", host="ours-2")
    state.evacuate(hosts=("ours-1", "ours-2"))


def volumes_and_ports(state: World) -> None:
    state.create(server="a", kind=("sev", "q35"), host="ours-1")
    state.create(server="b", kind=("plain", "q35"), host="ours-1")
    for device in ("volume", "normal", "direct"):
        state.attach(server="a", device=device)
        state.attach(server="b", device=device)
    state.resize(server="b", flavor="sev", host="ours-2")
    state.rebuild(server="b", image="asking")
    for server in "ab":
        state.hard_reboot(server=server)
        state.rescue(server=server, image="rescue-plain")
        state.unrescue(server=server)
        state.stop(server=server)
        state.power_on(server=server)
    state.migrate(server="a", host="ours-2")
    state.confirm(server="a")
    state.detach(server="a")
    state.detach(server="b")
    state.resize(server="b", flavor="sev", host="ours-2")


def rescue_by_any_image(state: World) -> None:
    state.create(server="a", kind=("es", "q35"), host="ours-1", config_drive=True)
    state.create(server="b", kind=("plain", "bios"), host="ours-1")
    for image in RESCUE_IMAGES:
        state.rescue(server="a", image=image)
        state.unrescue(server="a")
        state.rescue(server="b", image=image)
        if not machine_kinds.rescue_asks(image):  # else it was refused
            state.unrescue(server="b")


SCRIPTS: dict[str, Callable[[World], None]] = {
    script.__name__: script
    for script in (
        life_of_an_encrypted_server,
        one_server_of_each_kind,
        sev_is_lost_and_comes_back,
        slots_run_out,
        rebuild_from_an_unfit_image,
        rebuild_of_a_plain_server_from_an_asking_image,
        resize_to_what_the_image_rules_out,
        move_of_our_key_to_stock_nova,
        move_of_our_key_with_its_trait_to_stock_nova,
        there_and_back_between_both_drivers,
        rebuild_that_nova_conductor_refuses,
        made_plain_and_evacuated,
        servers_that_boot_from_a_volume,
        volumes_and_ports,
        rescue_by_any_image,
        *(
            [rebuild_to_a_weaker_model_that_nova_conductor_refuses]
            if ES_BY_IMAGE
            else []
        ),
        *([image_of_another_vendors_model] if "tdx" in IMAGES else []),
    )
}
