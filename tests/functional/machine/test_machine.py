# SPDX-License-Identifier: Apache-2.0

"""A state machine over Nova: any steps in any order, and all promises after each.

A failure prints the shortest list of steps that Hypothesis has found. They are
Python: in ``machine_scripts.py`` they stay. ``make machine`` runs more examples.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import machine_kinds
import machine_known
import machine_scripts
import machine_world
import pytest
from hypothesis import HealthCheck, Phase, reject, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from machine_kinds import FLAVORS, IMAGES, RESCUE_IMAGES
from machine_world import HOSTS, OURS, PromiseBroken, Server, World

#: Examples, each of so many steps. One step takes half a second.
EXAMPLES = int(os.environ.get("EXAMPLES", "3"))
STEPS = int(os.environ.get("STEPS", "15"))
#: "no" ends with the first failure: the shortest steps to it may take minutes.
SHRINK = os.environ.get("SHRINK", "yes")
NAMES = ("a", "b", "c", "d")


class Worlds:
    """The world in use. One whose promise is broken is thrown away."""

    def __init__(self) -> None:
        self._open: tuple[World, Any] | None = None

    def get(self) -> World:
        if self._open is None:
            context = machine_world.running()
            # oslo.db names databases by chance, and Hypothesis seeds that for each
            # example: a second world would be given what is left of the first.
            by_hypothesis = random.getstate()
            random.seed()
            self._open = context.__enter__(), context
            random.setstate(by_hypothesis)
        return self._open[0]

    def throw_away(self) -> None:
        if self._open is not None:
            _, context = self._open
            self._open = None
            context.__exit__(None, None, None)


WORLDS = Worlds()


@pytest.fixture(autouse=True, scope="module")
def worlds() -> Iterator[None]:
    with warnings.catch_warnings():
        # Nova's; Hypothesis would print each of them.
        warnings.simplefilter("ignore")
        yield
    WORLDS.throw_away()


def of_machine(draw: Callable[[Any], Any]) -> st.SearchStrategy[Any]:
    return st.runner().flatmap(lambda machine: st.sampled_from(draw(machine)))


def server(*states: str) -> st.SearchStrategy[str]:
    """Draw the name of a server in one of these states, or of any."""
    return of_machine(lambda machine: machine.named(*states))


def when(*states: str) -> Callable[[Any], Any]:
    """Have a rule run only where there is a server in one of these states."""
    return precondition(lambda machine: bool(machine.named(*states)))


KINDS = tuple((flavor, image) for flavor in FLAVORS for image in IMAGES)
FITTING = tuple(kind for kind in KINDS if machine_kinds.fit(*kind))
STARTED = ("active", "stopped")


class Machine(RuleBasedStateMachine):
    """The steps, drawn so that most can be done and some cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.world = WORLDS.get()
        self.whole = True

    def named(self, *states: str) -> list[str]:
        return [
            name
            for name, server in self.world.servers.items()
            if not states or server.state in states
        ]

    def encrypted_by_us(self) -> list[str]:
        return [
            name
            for name in self.named("active")
            if self.world.servers[name].asks and self.world.servers[name].host in OURS
        ]

    def with_devices(self) -> list[str]:
        return [
            name for name in self.named("active") if self.world.servers[name].devices
        ]

    def new(self) -> list[str]:
        return [name for name in NAMES if name not in self.world.servers][:1]

    def do(self, step: str, **arguments: Any) -> None:
        """Take a step. Of a fault that is known the server is given up."""
        self.whole = False
        try:
            getattr(self.world, step)(**arguments)
        except PromiseBroken as broken:
            if machine_known.find(broken) is None:
                raise
            if broken.step.server is None:
                reject()
            self.world.give_up(broken)
        self.whole = True

    def teardown(self) -> None:
        if not self.whole:
            WORLDS.throw_away()
            return
        try:
            self.world.reset()
        except BaseException:
            WORLDS.throw_away()
            raise

    # Servers come and go.

    @precondition(lambda machine: bool(machine.new()))
    @rule(
        server=of_machine(lambda machine: machine.new()),
        kind=st.sampled_from(FITTING) | st.sampled_from(KINDS),
        host=st.sampled_from(OURS) | st.sampled_from(tuple(HOSTS)),
        config_drive=st.booleans(),
        bfv=st.booleans(),
    )
    def create(
        self,
        server: str,
        kind: tuple[str, str],
        host: str,
        config_drive: bool,
        bfv: bool,
    ) -> None:
        self.do(
            "create",
            server=server,
            kind=kind,
            host=host,
            config_drive=config_drive,
            bfv=bfv,
        )

    @when()
    @rule(server=server())
    def delete(self, server: str) -> None:
        self.do("delete", server=server)

    # What a user does to a server.

    @when("active", "stopped", "rescued")
    @rule(server=server("active", "stopped", "rescued"))
    def hard_reboot(self, server: str) -> None:
        self.do("hard_reboot", server=server)

    @when("active")
    @rule(server=server("active"))
    def soft_reboot(self, server: str) -> None:
        self.do("soft_reboot", server=server)

    @when("active", "rescued")
    @rule(server=server("active", "rescued"))
    def stop(self, server: str) -> None:
        self.do("stop", server=server)

    @when("stopped")
    @rule(server=server("stopped"))
    def power_on(self, server: str) -> None:
        self.do("power_on", server=server)

    @when("active")
    @rule(server=server("active"))
    def suspend(self, server: str) -> None:
        self.do("suspend", server=server)

    @when("suspended")
    @rule(server=server("suspended"))
    def resume(self, server: str) -> None:
        self.do("resume", server=server)

    @precondition(lambda machine: bool(machine.encrypted_by_us()))
    @rule(server=of_machine(lambda machine: machine.encrypted_by_us()))
    def live_migrate(self, server: str) -> None:
        self.do("live_migrate", server=server)

    @when(*STARTED)
    @rule(server=server(*STARTED), image=st.sampled_from(tuple(IMAGES)))
    def rebuild(self, server: str, image: str) -> None:
        now = self.world.servers[server]
        if now.bfv and self.world._is_refused_by_conductor(now, image):
            return  # Nova then takes it for one with an image.
        if (
            now.asks is None
            and IMAGES[image].asks is not None
            and self.world._is_refused_by_conductor(now, image)
        ):
            return  # Nova then starts it encrypted on another host.
        self.do("rebuild", server=server, image=image)

    @when(*STARTED)
    @rule(server=server(*STARTED), image=st.sampled_from(tuple(RESCUE_IMAGES)))
    def rescue(self, server: str, image: str) -> None:
        now = self.world.servers[server]
        asks_alone = machine_kinds.rescue_asks(image) and now.asks is None
        if asks_alone and now.host not in OURS:
            return  # Stock Nova encrypts it, or fails.
        if self.is_without_sev(now) or not now.can_start:
            return  # A refused rescue ends in ERROR by Nova.
        self.do("rescue", server=server, image=image)

    @when("rescued")
    @rule(server=server("rescued"))
    def unrescue(self, server: str) -> None:
        if self.is_without_sev(self.world.servers[server]):
            return
        self.do("unrescue", server=server)

    def is_without_sev(self, now: Server) -> bool:
        """Whether its host has lost SEV: a refused rescue ends in ERROR by Nova."""
        return now.asks is not None and now.host in self.world.without_sev

    @when(*STARTED)
    @rule(
        server=server(*STARTED),
        flavor=st.sampled_from(tuple(FLAVORS)),
        host=st.sampled_from(tuple(HOSTS)),
    )
    def resize(self, server: str, flavor: str, host: str) -> None:
        if self.world.servers[server].is_lost and FLAVORS[flavor].asks:
            return  # It then asks by its flavor, whatever its image asked for.
        self.do("resize", server=server, flavor=flavor, host=host)

    @when(*STARTED)
    @rule(server=server(*STARTED), host=st.sampled_from(tuple(HOSTS)))
    def migrate(self, server: str, host: str) -> None:
        self.do("migrate", server=server, host=host)

    @when("resized")
    @rule(server=server("resized"))
    def confirm(self, server: str) -> None:
        self.do("confirm", server=server)

    @when("resized")
    @rule(server=server("resized"))
    def revert(self, server: str) -> None:
        self.do("revert", server=server)

    @when(*STARTED)
    @rule(server=server(*STARTED))
    def shelve(self, server: str) -> None:
        self.do("shelve", server=server)

    @when("shelved_offloaded")
    @rule(server=server("shelved_offloaded"), host=st.sampled_from(tuple(HOSTS)))
    def unshelve(self, server: str, host: str) -> None:
        self.do("unshelve", server=server, host=host)

    @when("active")
    @rule(
        server=server("active"), device=st.sampled_from(("volume", "normal", "direct"))
    )
    def attach(self, server: str, device: str) -> None:
        if len(self.world.servers[server].devices) < 2:
            self.do("attach", server=server, device=device)

    @precondition(lambda machine: bool(machine.with_devices()))
    @rule(server=of_machine(lambda machine: machine.with_devices()))
    def detach(self, server: str) -> None:
        self.do("detach", server=server)

    # What befalls a host.

    @when()
    @rule(host=st.sampled_from(tuple(HOSTS)))
    def restart(self, host: str) -> None:
        self.do("restart", host=host)

    @when(*STARTED)
    @rule(hosts=st.sampled_from(tuple(itertools.permutations(HOSTS, 2))))
    def evacuate(self, hosts: tuple[str, str]) -> None:
        self.do("evacuate", hosts=hosts)

    @when()
    @rule(host=st.sampled_from(OURS))
    def lose_or_regain_sev(self, host: str) -> None:
        self.do("lose_or_regain_sev", host=host)

    @when()
    @rule(host=st.sampled_from(OURS))
    def foreign_guest(self, host: str) -> None:
        self.do("foreign_guest", host=host)


def test_any_steps_in_any_order_break_no_promise() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, *([] if SHRINK == "no" else [Phase.shrink])],
            # The same examples at each run of "make test"; others for "make machine".
            derandomize="EXAMPLES" not in os.environ,
            database=None,
        ),
    )


@pytest.fixture
def state() -> Iterator[World]:
    world = WORLDS.get()
    try:
        yield world
        world.reset()
    except BaseException:
        WORLDS.throw_away()
        raise


@pytest.mark.parametrize("script", machine_scripts.SCRIPTS)
def test_a_script(script: str, state: World) -> None:
    machine_scripts.SCRIPTS[script](state)


def known_here() -> list[str]:
    return [
        name
        for name, fault in machine_known.FAULTS.items()
        if machine_known.is_here(fault)
    ]


@pytest.mark.parametrize("name", known_here())
def test_a_known_fault_is_still_there(name: str) -> None:
    fault = machine_known.FAULTS[name]
    world = WORLDS.get()
    with contextlib.ExitStack() as stack:
        stack.callback(WORLDS.throw_away)
        try:
            fault.script(world)
        except PromiseBroken as broken:
            assert fault.is_it(broken), broken
            return
    pytest.fail("it is gone: take it out of machine_known.py")
