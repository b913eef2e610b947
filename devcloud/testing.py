# SPDX-License-Identifier: Apache-2.0
"""A cloud for tests: ``CloudFixture``, to be used like any other fixture."""

import dataclasses
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import fixtures
import openstack

from devcloud import idle_disk, linux_guest
from devcloud.cloud import Cloud
from devcloud.demo.domain import DomainFacts
from devcloud.hosts import kind_here
from devcloud.layout import Layout
from devcloud.linux_guest import console
from devcloud.progress import Progress
from devcloud.settings import CloudSettings
from devcloud.simhost.settings import HostSettings

INSTANCE_TIMEOUT = 180
#: Of a Linux to start under emulation, on a busy machine.
LINUX_TIMEOUT = 240
FAULT_TIMEOUT = 10
SLOT = "MEM_ENCRYPTION_CONTEXT"
DISABLED = "COMPUTE_STATUS_DISABLED"
#: Of the API's answer to a request for a server with which Nova is busy.
IN_A_TASK = "while it is in task_state"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a request; the rest is what `server event show` tells."""

    #: The server afterwards.
    server: Any
    #: "Success" or "Error".
    result: str
    #: What Nova shows the user of an error.
    details: str

    @classmethod
    def of(cls, server: Any, events: list[dict[str, Any]]) -> "Outcome":
        failed = [event for event in events if event["result"] != "Success"]
        return cls(
            server=server,
            result="Error" if failed else "Success",
            details="\n".join(str(event["details"]) for event in failed),
        )


class CloudFixture(fixtures.Fixture):
    """A running cloud; it ends with the test, or with the test's process.

    :param state: its state folder, logs included
    :param nova: options to lay over its nova.conf, by section
    :param host: settings of its simulated host, such as ``max_asid=0``
    """

    def __init__(
        self,
        state: Path,
        *,
        nova: dict[str, dict[str, str]] | None = None,
        **host: Any,
    ) -> None:
        super().__init__()
        self.cloud = Cloud(Layout(state))
        self.settings = CloudSettings(
            host="simulated" if host else kind_here(),
            nodes=(HostSettings(**host),),
            nova=nova or {},
        )

    def _setUp(self) -> None:
        self.addCleanup(self.cloud.stop)
        self.cloud.start(self.settings, held=True, on_report=Progress().report)

    @cached_property
    def connection(self) -> openstack.connection.Connection:
        """openstacksdk, logged in as admin."""
        config = openstack.config.OpenStackConfig(
            config_files=[str(self.cloud.layout.clouds_yaml)], load_envvars=False
        )
        return openstack.connection.Connection(config=config.get_one("devcloud"))

    def make_flavor(self, name: str, **extra_specs: str) -> str:
        """A flavor's id; write a colon in a key as two underscores."""
        flavor = self.connection.compute.create_flavor(
            name=name, ram=256, vcpus=1, disk=1
        )
        specs = {key.replace("__", ":"): value for key, value in extra_specs.items()}
        self.connection.compute.create_flavor_extra_specs(flavor, specs)
        return str(flavor.id)

    def make_image(self, name: str, **properties: Any) -> str:
        """Make an image whose guest halts once it has booted; return its id."""
        file = self._disk(name)
        idle_disk.write(file)
        return self._upload(name, file, properties)

    def make_empty_image(self, name: str, **properties: Any) -> str:
        """Make an image whose guest stays in its firmware's shell, which takes keys."""
        file = self._disk(name)
        subprocess.run(["qemu-img", "create", "-qf", "qcow2", file, "16M"], check=True)
        return self._upload(name, file, properties)

    def make_linux_image(self, name: str, **properties: Any) -> str:
        """Make an image whose guest is a Linux: see ``devcloud.linux_guest``.

        :raises FileNotFoundError: there is none on this machine; the message says why.
        """
        disk = linux_guest.disk()
        if disk is None:
            raise FileNotFoundError(linux_guest.reason())
        return self._upload(name, disk, {"hw_firmware_type": "uefi", **properties})

    def said(self, server: Any) -> list[str]:
        """What a Linux guest has said on its console since its last start."""
        answer = self.connection.compute.get_server_console_output(server)
        return console.lines(answer["output"] or "")

    def hear(self, server: Any, what: str, since: int = 0) -> list[str]:
        """Wait until a Linux guest says it.

        :param what: a regular expression of a whole line
        :param since: how many of its lines do not count
        :returns: all that it has said since its last start
        """
        for _ in openstack.utils.iterate_timeout(
            LINUX_TIMEOUT, f"{server.name} did not say {what}", wait=0.5
        ):
            lines = self.said(server)
            if any(re.fullmatch(what, line) for line in lines[since:]):
                return lines
        raise AssertionError("iterate_timeout raises")

    def hear_start(self, server: Any, before: Sequence[str] = ()) -> list[str]:
        """Wait until a Linux guest has started.

        :param before: what it has said since an earlier start, which does not count
        :returns: all that it has said since this one
        """
        for _ in openstack.utils.iterate_timeout(
            LINUX_TIMEOUT, f"the Linux of {server.name} did not start", wait=0.5
        ):
            lines = self.said(server)
            # The first line differs from start to start.
            if console.READY in lines and lines[0] not in before:
                return lines
        raise AssertionError("iterate_timeout raises")

    def _disk(self, name: str) -> Path:
        return self.cloud.layout.images / f"{name}.qcow2"

    def _upload(self, name: str, file: Path, properties: Mapping[str, Any]) -> str:
        image = self.connection.image.create_image(
            name,
            filename=str(file),
            disk_format="qcow2",
            container_format="bare",
            **properties,
        )
        return str(image.id)

    def boot(self, name: str, flavor: str, image: str, **more: Any) -> Any:
        """A server that is built: ACTIVE or ERROR, with its fault."""
        return self.built(self.order(name, flavor, image, **more))

    def order(
        self, name: str, flavor: str, image: str, networks: Any = "none", **more: Any
    ) -> Any:
        """A server that Nova has begun to build."""
        return self.connection.compute.create_server(
            name=name, flavor_id=flavor, image_id=image, networks=networks, **more
        )

    def built(self, server: Any) -> Any:
        """The server as it has become: ACTIVE or ERROR, with its fault."""
        for _ in openstack.utils.iterate_timeout(
            INSTANCE_TIMEOUT, f"{server.name} was not built", wait=0.3
        ):
            server = self.connection.compute.get_server(server)
            if server.status in ("ACTIVE", "ERROR"):
                return self.with_fault(server)

    def with_fault(self, server: Any) -> Any:
        """The server; in ERROR with its fault, which Nova records a moment later."""
        deadline = time.monotonic() + FAULT_TIMEOUT
        while server.status == "ERROR" and not server.fault:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
            server = self.connection.compute.get_server(server)
        return server

    def delete(self, server: Any) -> None:
        compute = self.connection.compute
        compute.delete_server(server)
        compute.wait_for_delete(server, interval=0.3, wait=INSTANCE_TIMEOUT)

    def act(self, server: Any, action: str, parameters: Any = None) -> "Outcome":
        """Ask for a server's action, and wait until Nova is done with it.

        :raises openstack.exceptions.HttpException: the API refuses it.
        """
        return self.follow(server, self.ask(server, action, parameters))

    def do(self, server: Any, action: str, parameters: Any = None) -> Any:
        """Have an action done to a server that must succeed; return the server.

        :raises AssertionError: Nova could not do it; its words say why.
        """
        outcome = self.act(server, action, parameters)
        if outcome.result != "Success":
            raise AssertionError(f"{server.name}, {action}: {outcome.details}")
        return outcome.server

    def ask(self, server: Any, action: str, parameters: Any = None) -> str:
        """Ask for a server's action, once Nova is done with any of its own.

        Nova stops by itself a server whose state in libvirt it did not expect.

        :returns: the request's id
        :raises openstack.exceptions.HttpException: the API refuses it.
        """
        for _ in openstack.utils.iterate_timeout(
            INSTANCE_TIMEOUT, f"{server.name} is not free for {action}", wait=0.2
        ):
            answer = self.connection.compute.post(
                f"/servers/{server.id}/action",
                json={action: parameters},
                microversion=self.settings.compute_api,
            )
            if not (answer.status_code == 409 and IN_A_TASK in answer.text):
                openstack.exceptions.raise_from_response(answer)
                return str(answer.headers["x-compute-request-id"])
        raise AssertionError("iterate_timeout raises")

    def follow(self, server: Any, request: str) -> "Outcome":
        """Wait until Nova is done with a request for a server."""
        compute = self.connection.compute
        url = f"/servers/{server.id}/os-instance-actions/{request}"
        for _ in openstack.utils.iterate_timeout(
            INSTANCE_TIMEOUT, f"{server.name}: {request} was not finished", wait=0.2
        ):
            answer = compute.get(url, microversion=self.settings.compute_api)
            events = answer.json()["instanceAction"]["events"] if answer.ok else []
            if events and all(event["finish_time"] for event in events):
                now = compute.get_server(server)
                if now.task_state is None:
                    return Outcome.of(now, events)
        raise AssertionError("iterate_timeout raises")

    def domain(self, server: Any) -> DomainFacts:
        """What libvirt runs for the server."""
        return DomainFacts.of(self.virsh("dumpxml", server.instance_name))

    def virsh(self, *arguments: str) -> str:
        return subprocess.run(
            ["virsh", *arguments],
            env=self.cloud.shell_environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def inventory(self) -> dict[str, tuple[int, int]]:
        """Slots in Placement, total and reserved, by the name of their provider."""
        found = {}
        for name, answer in self._slots("inventories"):
            slots = answer["inventories"].get(SLOT)
            if slots:
                found[name] = slots["total"], slots["reserved"]
        return found

    def usage(self) -> dict[str, int]:
        """Slots allocated in Placement, by the name of their provider."""
        return {
            name: answer["usages"][SLOT]
            for name, answer in self._slots("usages")
            if SLOT in answer["usages"]
        }

    def offers_slots(self) -> bool:
        """Whether the scheduler would now find a host for an encrypted guest.

        Nova has a host disabled from the moment it loses libvirtd until it next asks
        something of it, which can be a minute.
        """
        answer = self.connection.placement.get(
            "/allocation_candidates",
            params={"resources": f"{SLOT}:1", "root_required": f"!{DISABLED}"},
            microversion="1.35",
        )
        openstack.exceptions.raise_from_response(answer)
        return bool(answer.json()["allocation_requests"])

    def _slots(self, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
        placement = self.connection.placement
        for provider in placement.resource_providers():
            answer = placement.get(f"/resource_providers/{provider.id}/{what}")
            yield provider.name, answer.json()

    def log(self, name: str = "nova") -> str:
        return self.cloud.layout.log(name).read_text()
