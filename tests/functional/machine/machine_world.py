# SPDX-License-Identifier: Apache-2.0

"""The state machine's world: a cloud with hosts of both drivers, and its steps.

Each step does what it says through Nova's API, sees by Nova's own record whether it
was done or refused, and then holds the whole world to the promises: what was done is
so, and what was refused has changed nothing.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import functools
import pathlib
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import generations
import machine_kinds
import nova_cloud
import novas
import oslo_messaging as messaging
import sqlalchemy
from generations import ES, SEV, SNP
from machine_kinds import FLAVORS, IMAGES, RESCUE_IMAGES, SLOT
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.conf import CONF
from nova.scheduler import host_manager
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.libvirt import base
from nova.virt.libvirt import driver as libvirt_driver
from nova_cloud import ApiError
from oslo_log import log as logging
from oslo_serialization import jsonutils
from oslo_utils import uuidutils
from placement import db_api
from with_driver import SEV_DRIVER, STOCK_DRIVER

from sev_driver.model import MemoryEncryptionModel as Model

LOG = logging.getLogger(__name__)

OURS = ("ours-1", "ours-2")
STOCK = "stock-1"
HOSTS = {OURS[0]: SEV_DRIVER, OURS[1]: SEV_DRIVER, STOCK: STOCK_DRIVER}

#: Few, so that they run out: of ES and SNP the kernel has five, ES may have two.
SLOTS = {SEV: 3, ES: 2, SNP: 3}
_SEV_ON = generations.EVERY_GENERATION.replace(
    "<maxGuests>100<", f"<maxGuests>{SLOTS[SEV]}<"
).replace("<maxESGuests>15<", f"<maxESGuests>{SLOTS[ES] + SLOTS[SNP]}<")
_SEV_OFF = "  <features><sev supported='no'/></features>"

#: Nova's vm_state of a server that has a domain which runs, or may run.
RUNS = frozenset({"active", "rescued", "resized"})
#: Longest that Nova may take to finish what it has begun on a busy machine, in seconds.
PATIENCE = 60.0
#: Longest that a promise may stay unmet, for what Nova does behind an answer.
GRACE = 2.0


#: A promise that is broken: see machine_known.
REFUSED_FLAVOR = "allocations of a refused flavor"


class PromiseBroken(AssertionError):
    """The world is not as promised.

    ``promise`` is one word for which; the known faults are found by it.
    """

    def __init__(self, promise: str, step: Step, what: str) -> None:
        super().__init__(f"{promise}: {what}, after {step}")
        self.promise = promise
        self.step = step


@dataclasses.dataclass(frozen=True)
class Step:
    """What was done to the world, and whether it was refused."""

    name: str
    arguments: Mapping[str, Any]
    server: Server | None = None
    refused: bool = False
    reason: str = ""

    def __str__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.arguments.items())
        end = f"  # refused: {self.reason}" if self.refused else ""
        return f"state.{self.name}({arguments}){end}"


@dataclasses.dataclass
class Server:
    """What a server must be. Only a step that was done changes it."""

    name: str
    uuid: str
    flavor: str
    image: str
    host: str | None
    state: str = "active"
    #: Host and model of the slot that it holds since it was last placed.
    slot: tuple[str, Model | None] | None = None
    #: Its volumes and ports, by what each is: "volume", or a port's vnic type.
    devices: dict[str, str] = dataclasses.field(default_factory=dict)
    #: While it is resized: how it was, and whether it ran.
    before: Server | None = None
    was_on: bool = True
    #: It was encrypted, and so has the machine type of such a guest for good.
    was_encrypted: bool = False
    #: Left to stock Nova by what the manual warns of.
    unwatched: bool = False
    #: The image whose properties Nova keeps, of a rebuild that nova-conductor refused.
    recorded: str | None = None
    #: It boots from a volume.
    bfv: bool = False
    #: A resize of it was refused: Nova's scheduler may have the new flavor.
    resize_refused: bool = False

    @property
    def asks(self) -> Model | str | None:
        return machine_kinds.asked(self.flavor, self.image)

    @property
    def shown(self) -> str:
        """The image of which Nova has the properties."""
        return self.recorded or self.image

    @property
    def is_lost(self) -> bool:
        """Whether it asks for less than it was made with, by Nova's record."""
        return machine_kinds.asked(self.flavor, self.shown) is not self.asks

    @property
    def can_start(self) -> bool:
        """Whether Nova's record is of an image with which it can run as it must."""
        fits = machine_kinds.fit(self.flavor, self.shown)
        return self.recorded is None or (fits and not self.is_lost)

    @property
    def on(self) -> bool:
        return self.state in RUNS and self.was_on


class MachineCloud(nova_cloud.Cloud):
    """A cloud whose fake libvirt keeps of a domain what a real one does."""

    def setUp(self) -> None:
        super().setUp()
        self.target: str | None = None
        #: Hosts that nobody waits for an answer from.
        self.dead: set[str] = set()
        self.flags(allow_resize_to_same_host=True)
        if "response_validation" in CONF.api:
            # Nova's own tests want no answer that its schema does not allow.
            self.flags(group="api", response_validation="warn")
        self.flags(group="sev", num_sev_es_guests=SLOTS[ES])
        card = {
            "vendor_id": fakelibvirt.PCI_VEND_ID,
            "product_id": fakelibvirt.VF_PROD_ID,
            "physical_network": "physnet4",
        }
        self.flags(group="pci", device_spec=[jsonutils.dumps(card)])
        self.flags(group="libvirt", device_detach_timeout=1, device_detach_attempts=1)
        self.neutron = self.useFixture(base.LibvirtNeutronFixture(self))
        self._keep_definitions()
        self._keep_cards()
        self._steer_the_scheduler()
        self._make_folders()
        self._answer_no_cast()

    def _answer_no_cast(self) -> None:
        """Have who casts wait, as Nova's fixtures do, but learn of no failure.

        With those it would reach the target of a move, and be taken for its own.
        """
        prepare = messaging.RPCClient.prepare

        def prepare_to_wait(client: Any, *args: Any, **kwargs: Any) -> Any:
            prepared = prepare(client, *args, **kwargs)
            call, dead = prepared.call, kwargs.get("server") in self.dead

            def cast(*args: Any, **kwargs: Any) -> None:
                if dead:
                    return
                try:
                    call(*args, **kwargs)
                except Exception as error:
                    LOG.info("lost with its cast: %r", error)

            prepared.cast = cast
            return prepared

        self.enter(mock.patch.object(messaging.RPCClient, "prepare", prepare_to_wait))

    def _remember_launch_security(self) -> None:
        """Not by uuid: the same server has domains on two hosts while it moves."""

    def _keep_definitions(self) -> None:
        """Have a domain's XML show what it was defined with, beside its devices."""
        parse = fakelibvirt.Domain._parse_definition
        describe = fakelibvirt.Domain.XMLDesc

        def remember(domain: Any, xml: str) -> Any:
            domain.defined_as = xml
            return parse(domain, xml)

        def recall(domain: Any, flags: int) -> str:
            shown, defined = (
                ET.fromstring(text)
                for text in (describe(domain, flags), domain.defined_as)
            )
            for name in ("metadata", "memoryBacking", "launchSecurity"):
                shown.extend(defined.findall(name))
            kind, as_defined = shown.find("os/type"), defined.find("os/type")
            if kind is not None and as_defined is not None:
                kind.attrib.update(as_defined.attrib)
            self._name_ports(shown)
            return ET.tostring(shown, encoding="unicode")

        save = fakelibvirt.Domain.managedSave

        def stop_and_save(domain: Any, flags: int) -> None:
            domain.destroy()
            save(domain, flags)

        remove = fakelibvirt.Domain.managedSaveRemove
        for name, value in (
            # Nova calls it without flags, as libvirt allows.
            ("managedSaveRemove", lambda domain, flags=0: remove(domain, flags)),
            ("_parse_definition", remember),
            ("XMLDesc", recall),
            ("managedSave", stop_and_save),
        ):
            self.enter(mock.patch.object(fakelibvirt.Domain, name, value))

    def _name_ports(self, shown: ET.Element) -> None:
        """Give ports the names by which Nova finds them again."""
        names = {p["mac_address"]: f"tap{p['id'][:11]}" for p in self.ports()}
        for port in shown.findall("devices/interface"):
            mac, source, target = (port.find(n) for n in ("mac", "source", "target"))
            if port.get("type") == "hostdev":
                port.remove(target)
                _, *address = str(source.get("hostdev")).split("_")
                parts = dict(
                    zip(("domain", "bus", "slot", "function"), address, strict=True)
                )
                in_hex = {name: f"0x{part}" for name, part in parts.items()}
                ET.SubElement(source, "address", {"type": "pci", **in_hex})
            elif target is not None:
                target.set("dev", names[str(mac.get("address"))])

    def ports(self) -> list[dict[str, Any]]:
        return list(self.neutron._ports.values())

    def _keep_cards(self) -> None:
        """Have the fake libvirt read what card is attached, and number domains."""
        parse_port = fakelibvirt._parse_nic_info

        def parse_attached(port: Any) -> dict[str, Any]:
            read: dict[str, Any] = parse_port(port)
            address = port.find("./source/address")
            if port.get("type") == "hostdev" and address is not None:
                parts = (address.get(n) for n in ("domain", "bus", "slot", "function"))
                read["source"] = "_".join(
                    ("pci", *(str(part).removeprefix("0x") for part in parts))
                )
            return read

        self.enter(mock.patch.object(fakelibvirt, "_parse_nic_info", parse_attached))
        mark = fakelibvirt.Connection._mark_running

        def number(connection: Any, domain: Any) -> None:
            """Give a domain the number that it has in this run of it."""
            domain._id = connection._id_counter
            mark(connection, domain)

        patch = mock.patch.object(fakelibvirt.Connection, "_mark_running", number)
        self.enter(patch)

    def _steer_the_scheduler(self) -> None:
        original = host_manager.HostManager.get_filtered_hosts

        def only_target(this: Any, hosts: Any, spec: Any, *args: Any, **kw: Any) -> Any:
            hosts = [host for host in hosts if self.target in (None, host.host)]
            return original(this, hosts, spec, *args, **kw)

        self.enter(
            mock.patch.object(
                host_manager.HostManager, "get_filtered_hosts", only_target
            )
        )

    def _make_folders(self) -> None:
        """Make the folders that come with disks, which Nova's fixtures do not make."""

        def make_folder(this: Any, context: Any, instance: Any, *a: Any, **kw: Any):
            folder = pathlib.Path(CONF.instances_path) / instance.uuid
            folder.mkdir(exist_ok=True)
            return (False, False)

        driver = libvirt_driver.LibvirtDriver
        for name, value in (
            ("_create_image", make_folder),
            ("migrate_disk_and_power_off", nova_cloud.only_power_off),
        ):
            self.enter(mock.patch.object(driver, name, value))

    def start_compute(self, *args: Any, **kwargs: Any) -> str:
        started: str = super().start_compute(*args, **kwargs)
        driver = self.computes[started].driver
        for name in _WHERE_THE_HOST_MATTERS:
            setattr(driver, name, _as_host(started, getattr(driver, name)))
        return started

    def enter(self, patch: Any) -> None:
        patch.start()
        self.addCleanup(patch.stop)


#: Methods of the drivers that look at CONF.host, which is one for all hosts here.
_WHERE_THE_HOST_MATTERS = (
    "_cleanup_resize",
    "_set_host_enabled",
    "get_available_resource",
)


def _as_host(host: str, method: Any) -> Any:
    """Have ``method`` find its own host in nova.conf."""

    @functools.wraps(method)
    def as_host(*args: Any, **kwargs: Any) -> Any:
        before = CONF.host
        CONF.set_override("host", host)
        try:
            return method(*args, **kwargs)
        finally:
            CONF.set_override("host", before)

    return as_host


@contextlib.contextmanager
def running() -> Iterator[World]:
    """A world whose cloud runs until the end of the block."""
    case = MachineCloud()
    case.compute_driver = SEV_DRIVER
    try:
        case.setUp()
        with generations.switched_on(case, SEV, ES, SNP), case.domain_features(_SEV_ON):
            world = World(case)
            for host in HOSTS:
                world.start(host)
            world.mark_elsewhere()
            yield world
    finally:
        case.tearDown()
        case.doCleanups()


class World:
    """The cloud, what must be true of it, and the steps that change both."""

    def __init__(self, cloud: MachineCloud) -> None:
        self.cloud = cloud
        self.context = nova_context.get_admin_context()
        self.servers: dict[str, Server] = {}
        self.without_sev: set[str] = set()
        self.foreign: dict[str, Any] = {}
        self.images = {
            name: cloud.image(name, **image.properties)
            for name, image in IMAGES.items()
        } | {name: cloud.image(name, **own) for name, own in RESCUE_IMAGES.items()}
        self.flavors = {
            name: cloud.flavor(f"machine-{name}", flavor.specs, flavor.vcpus)
            for name, flavor in FLAVORS.items()
        }

    # Hosts

    def start(self, host: str) -> None:
        self.cloud.use_driver(HOSTS[host])
        # As generations.start, with some network cards that can be given to guests.
        self.cloud.start_compute(
            host,
            libvirt_version=11_003_000,
            qemu_version=10_000_000,
            pci_info=fakelibvirt.HostPCIDevicesInfo(num_pfs=1, num_vfs=4),
        )

    def mark_elsewhere(self) -> None:
        """Give one host the trait that an image requires."""
        host = IMAGES["elsewhere"].only_on
        self.cloud._create_trait(machine_kinds.ELSEWHERE)
        uuid = self.cloud._get_provider_uuid_by_name(host)
        kept = self.cloud._get_provider_traits(uuid)
        self.cloud._set_provider_traits(uuid, [*kept, machine_kinds.ELSEWHERE])

    def connection(self, host: str) -> Any:
        connection = self.cloud.computes[host].driver._host.get_connection()
        return getattr(connection, "_obj", connection)

    def domains(self, host: str) -> dict[str, Any]:
        """Return a host's domains by uuid, in libvirt's own objects."""
        vms = list(self.connection(host)._vms.values())
        return {domain.UUIDString(): domain for domain in vms}

    def update(self, host: str) -> None:
        """Run Nova's periodic update of a host's resources."""
        self.cloud.computes[host].manager.update_available_resource(self.context)

    def sync(self, host: str) -> None:
        """Run Nova's periodic look at the power of a host's servers."""
        manager = self.cloud.computes[host].manager
        for server in self.servers.values():
            if server.host == host and server.state == "active":
                instance = self.instance(server)
                manager._query_driver_power_state_and_sync(self.context, instance)

    def _restart(self, step: Step, host: str) -> None:
        self.cloud.use_driver(HOSTS[host])
        try:
            self.cloud.restart(host)
        except Exception as error:
            # Nova's helper has forgotten the host by now.
            raise PromiseBroken("starts", step, f"{host}: {error!r}") from error

    def restart(self, host: str) -> None:
        """Restart nova-compute; the guests stay."""
        step = Step("restart", {"host": host})
        self._restart(step, host)
        self.check(step)

    def lose_sev(self, host: str) -> None:
        """Reboot a host, which comes back without SEV and with no guest running."""
        step = Step("lose_sev", {"host": host})
        self.without_sev.add(host)
        self._reboot(step, host, _SEV_OFF)

    def regain_sev(self, host: str) -> None:
        step = Step("regain_sev", {"host": host})
        self.without_sev.discard(host)
        self._reboot(step, host, _SEV_ON)

    def lose_or_regain_sev(self, host: str) -> None:
        if host in self.without_sev:
            self.regain_sev(host)
        else:
            self.lose_sev(host)

    def _reboot(self, step: Step, host: str, features: str) -> None:
        connection = self.connection(host)
        for name, guest in list(self.foreign.items()):
            if name.startswith(host):
                guest.destroy()
                del self.foreign[name]
        for domain in self.domains(host).values():
            if domain.isActive():
                domain.destroy()
        connection._domain_capability_features = features
        self._restart(step, host)
        self.sync(host)
        for server in self.servers.values():
            if server.host == host and server.state == "active":
                server.state = "stopped"
            elif server.host == host and server.state in RUNS:
                server.was_on = False
        self.check(step)

    def foreign_guest(self, host: str) -> None:
        """Another manager starts an encrypted guest, or ends its own."""
        step = Step("foreign_guest", {"host": host})
        if host in self.foreign:
            self.foreign.pop(host).destroy()
        else:
            uuid = uuidutils.generate_uuid()
            self.foreign[host] = self.connection(host).createXML(
                f"<domain type='kvm'><name>foreign-{uuid}</name><uuid>{uuid}</uuid>"
                "<vcpu>1</vcpu><memory unit='KiB'>65536</memory><devices/>"
                "<launchSecurity type='sev'><policy>0x33</policy></launchSecurity>"
                "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>",
                0,
            )
        self.update(host)
        self.check(step)

    # Servers

    def create(
        self,
        server: str,
        kind: tuple[str, str],
        host: str,
        config_drive: bool = False,
        bfv: bool = False,
    ) -> None:
        """Create a server of a flavor and an image, or a volume made of the image."""
        flavor, image = kind
        arguments = {"server": server, "kind": kind, "host": host}
        step = Step("create", arguments | {"config_drive": config_drive, "bfv": bfv})
        free = self._is_free(flavor, image, host)
        self.cloud.target = host
        body = self.cloud._build_server(
            server, self.images[image], self.flavors[flavor], "none"
        )
        body["config_drive"] = config_drive
        if bfv:
            volume = self.cloud.volume(self.images[image])
            body |= nova_cloud.boot_volume(volume)
        try:
            answer = self.cloud.api.post_server({"server": body})
        except ApiError as error:
            self._finish(step, refused=True, reason=reason(error))
            return
        new = Server(server, answer["id"], flavor, image, host, bfv=bfv)
        self._settle(new)
        now = self.instance(new)
        if now is None or now.vm_state != "active":
            shown = self.cloud.api.get_server(new.uuid).get("fault", {})
            said = shown.get("message", "")
            self._forget(new)
            step = dataclasses.replace(step, refused=True, reason=said)
            if free and machine_kinds.fit(flavor, image):
                raise PromiseBroken("refused without cause", step, said)
            self.check(step)
            return
        new.slot = self._placed(new)
        self.servers[server] = new
        if HOSTS[host] == STOCK_DRIVER and FLAVORS[flavor].only_ours:
            new.unwatched = True
        self._finish(dataclasses.replace(step, server=new))

    def delete(self, server: str) -> None:
        gone = self.servers[server]
        step = Step("delete", {"server": server}, gone)
        self._forget(gone)
        self._finish(step)

    def hard_reboot(self, server: str) -> None:
        self._act("hard_reboot", server, {"reboot": {"type": "HARD"}}, "active")

    def soft_reboot(self, server: str) -> None:
        self._act("soft_reboot", server, {"reboot": {"type": "SOFT"}}, "active")

    def stop(self, server: str) -> None:
        self._act("stop", server, {"os-stop": None}, "stopped")

    def power_on(self, server: str) -> None:
        self._act("power_on", server, {"os-start": None}, "active")

    def suspend(self, server: str) -> None:
        self._act("suspend", server, {"suspend": None}, "suspended")

    def resume(self, server: str) -> None:
        self._act("resume", server, {"resume": None}, "active")

    def live_migrate(self, server: str) -> None:
        action = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
        self._act("live_migrate", server, action, "active")

    def rebuild(self, server: str, image: str) -> None:
        action = {"rebuild": {"imageRef": self.images[image]}}
        state = self.servers[server].state
        self._act("rebuild", server, action, state, image=image)

    def rescue(self, server: str, image: str) -> None:
        action = {"rescue": {"rescue_image_ref": self.images[image]}}
        self._act("rescue", server, action, "rescued", rescue=image)

    def unrescue(self, server: str) -> None:
        self._act("unrescue", server, {"unrescue": None}, "active")

    def resize(self, server: str, flavor: str, host: str) -> None:
        action = {"resize": {"flavorRef": self.flavors[flavor]}}
        self._act("resize", server, action, "resized", flavor=flavor, host=host)

    def migrate(self, server: str, host: str) -> None:
        self._act("migrate", server, {"migrate": None}, "resized", host=host)

    def confirm(self, server: str) -> None:
        self._act("confirm", server, {"confirmResize": None}, "active")

    def revert(self, server: str) -> None:
        self._act("revert", server, {"revertResize": None}, "active")

    def shelve(self, server: str) -> None:
        self._act("shelve", server, {"shelve": None}, "shelved_offloaded")

    def unshelve(self, server: str, host: str) -> None:
        self._act("unshelve", server, {"unshelve": None}, "active", host=host)

    def attach(self, server: str, device: str) -> None:
        """Attach a new volume, or a new port of this vnic type."""
        now = self.servers[server]
        step = Step("attach", {"server": server, "device": device}, now)
        seen = self._domain_seen(now)
        if device == "volume":
            uuid, path = uuidutils.generate_uuid(), "os-volume_attachments"
            body = {"volumeAttachment": {"volumeId": uuid}}
        else:
            uuid, path = self._new_port(device), "os-interface"
            body = {"interfaceAttachment": {"port_id": uuid}}
        said = ""
        try:
            self.cloud.api.api_post(f"/servers/{now.uuid}/{path}", body)
        except ApiError as error:
            said = reason(error)
        self._settle(now)
        if said or self._last_action(now) == "Error":
            step = dataclasses.replace(step, refused=True, reason=said)
            if device == "direct":
                # What Nova has bound for it must be free again.
                self._must_be_unbound(step, uuid)
            elif now.host in OURS:
                raise PromiseBroken("refused without cause", step, said)
            if (changed := self._domain_seen(now)) != seen:
                what = difference(seen, changed)
                raise PromiseBroken("refused, but changed", step, what)
        else:
            now.devices[uuid] = device
        self._finish(step)

    def detach(self, server: str) -> None:
        """Detach what was attached last."""
        now = self.servers[server]
        step = Step("detach", {"server": server}, now)
        uuid = list(now.devices)[-1]
        path = "os-volume_attachments" if now.devices[uuid] == "volume" else None
        with contextlib.suppress(ApiError):
            self.cloud.api.api_delete(
                f"/servers/{now.uuid}/{path or 'os-interface'}/{uuid}"
            )
        self._settle(now)
        del now.devices[uuid]
        self._finish(step)

    def _new_port(self, vnic_type: str) -> str:
        """Put a port into Neutron and return its id."""
        neutron = self.cloud.neutron
        direct = vnic_type == "direct"
        port = copy.deepcopy(
            neutron.network_4_port_1 if direct else neutron.network_1_port_2
        )
        uuid: str = uuidutils.generate_uuid()
        port["id"], port["tenant_id"] = uuid, neutron.tenant_id
        port["mac_address"] = f"52:54:00:{uuid[:2]}:{uuid[2:4]}:{uuid[4:6]}"
        port["admin_state_up"] = True
        neutron._ports[uuid] = port
        return uuid

    def _must_be_unbound(self, step: Step, port: str) -> None:
        bound = self.cloud.neutron._ports[port].get("device_id")
        if bound:
            raise PromiseBroken("left behind", step, f"port {port} is bound")

    def evacuate(self, hosts: tuple[str, str]) -> None:
        """A host dies, its servers are evacuated to the other, and it comes back."""
        step = Step("evacuate", {"hosts": hosts})
        host, target = hosts
        compute = self.cloud.computes[host]
        for domain in self.domains(host).values():
            domain.destroy()
        for name in [name for name in self.foreign if name == host]:
            del self.foreign[name]
        compute.stop()
        self.cloud.dead.add(host)
        self.cloud.api.put_service_force_down(compute.service_ref.uuid, True)
        self.cloud.target = target
        for server in self.servers.values():
            if server.host == host and server.state in ("active", "stopped"):
                with contextlib.suppress(ApiError):
                    self.cloud.api.post_server_action(server.uuid, {"evacuate": {}})
                self._settle(server)
                now = self.instance(server)
                if now.vm_state == "error":
                    self._reset_state(server)
                if now.host == target:
                    server.host, server.state = target, now.vm_state
                    server.slot = self._placed(server)
                    self._watch_moved(server, by_us=False)
        self.cloud.dead.discard(host)
        self._restart(step, host)
        self.cloud.api.put_service_force_down(compute.service_ref.uuid, False)
        self.sync(host)
        for server in self.servers.values():
            if server.host == host and server.state == "active":
                server.state = "stopped"
            elif server.host == host and server.state in RUNS:
                server.was_on = False
        self._finish(step)

    def _reset_state(self, server: Server) -> None:
        """Do what an operator does where Nova puts a server into ERROR that is whole.

        So it does where an evacuation finds no host, and where a hard reboot of a
        server that is off is refused.
        """
        if self.instance(server).vm_state != "error":
            return
        action = {"os-resetState": {"state": "active"}}
        self.cloud.api.post_server_action(server.uuid, action)
        if server.host in self.cloud.computes and server.state == "stopped":
            server.state = "active"
            self.sync(server.host)
            server.state = "stopped"
        else:
            server.state = "active"

    # How a step is done

    def _act(self, name: str, server: str, action: Any, state: str, **new: str) -> None:
        """Do ``action``, which leaves the server in ``state`` and with ``new``."""
        now = self.servers[server]
        arguments = {"server": server} | {
            {"rescue": "image"}.get(key, key): value for key, value in new.items()
        }
        step = Step(name, arguments, now)
        seen = self._domain_seen(now)
        must = self._must_be_done(name, now, new)
        self.cloud.target = new.get("host")
        said = ""
        try:
            self.cloud.api.post_server_action(now.uuid, action)
        except ApiError as error:
            said = reason(error)
        self._settle(now)
        if not self._is_done(now, name, state, said):
            said = said or self._fault(now)
            step = dataclasses.replace(step, refused=True, reason=said)
            if must:
                raise PromiseBroken("refused without cause", step, said)
            if HOSTS.get(now.host or "") == STOCK_DRIVER:
                # What stock Nova leaves behind is its own.
                self._forget(now)
                self._finish(step)
                return
            if name == "hard_reboot" and not now.on:
                self._reset_state(now)
            now.resize_refused |= name == "resize"
            if name == "rebuild" and self._is_refused_by_conductor(now, new["image"]):
                now.recorded = new["image"]
                self._reset_state(now)
            if (changed := self._domain_seen(now)) != seen:
                what = difference(seen, changed)
                raise PromiseBroken("refused, but changed", step, what)
            self._finish(step)
            return
        self._apply(now, name, state, new)
        self._finish(step)

    def _apply(
        self, now: Server, name: str, state: str, new: Mapping[str, str]
    ) -> None:
        """Make the server what the step has made of it."""
        if name in ("migrate", "resize"):
            now.before = dataclasses.replace(now)
            now.was_on = now.state == "active"
            now.resize_refused = False
            now.flavor = new.get("flavor", now.flavor)
            now.host = new["host"]
            now.slot = self._placed(now)
            self._watch_moved(now, by_us=HOSTS[now.before.host] == SEV_DRIVER)
        elif name == "revert":
            old = now.before
            now.flavor, now.host, now.slot = old.flavor, old.host, old.slot
            now.unwatched = old.unwatched
            if old.state == "stopped":
                state = "stopped"
        elif name == "confirm" and not now.was_on:
            state = "stopped"
        elif name == "shelve":
            now.host = now.slot = None
        elif name == "unshelve":
            now.host = new["host"]
            now.slot = self._placed(now)
            self._watch_moved(now, by_us=False)
        if "image" in new:
            now.image, now.recorded = new["image"], None
            now.was_encrypted = now.asks is not None
            if now.slot is not None and isinstance(now.asks, Model):
                now.slot = now.host, now.asks
        now.state = state
        if state != "resized":
            now.before, now.was_on = None, True

    def _watch_moved(self, server: Server, by_us: bool) -> None:
        """What asks by our key alone and was sent to stock Nova by no host of ours."""
        to_stock = HOSTS[server.host] == STOCK_DRIVER
        server.unwatched = (
            to_stock
            and not by_us
            and FLAVORS[server.flavor].only_ours
            and not server.flavor.endswith("-held")
        )

    def _placed(self, server: Server) -> tuple[str, Model | None] | None:
        asks = server.asks
        server.was_encrypted |= asks is not None
        return (server.host, asks) if isinstance(asks, Model) else None

    def _must_be_done(self, name: str, now: Server, new: Mapping[str, str]) -> bool:
        """Whether a refusal would have no cause."""
        if now.unwatched or (now.host and HOSTS[now.host] == STOCK_DRIVER):
            return False
        able = now.asks is None or now.host not in self.without_sev
        able = able and now.can_start
        if name in ("hard_reboot", "soft_reboot"):
            return able and now.state == "active"
        if name == "power_on":
            return able and now.state == "stopped" and not self._is_short(now)
        if name == "stop":
            return now.state == "active"
        if name == "rebuild":
            wanted = machine_kinds.asked(now.flavor, new["image"])
            held = now.slot and now.slot[1]
            fits = machine_kinds.fit(now.flavor, new["image"])
            runs = wanted is None or now.host not in self.without_sev
            return (
                now.state in ("active", "stopped")
                and not self._is_refused_by_conductor(now, new["image"])
                and fits
                and runs
                and (wanted in (None, held) or self._is_exchanged(wanted, now))
            )
        if name == "rescue":
            asks = machine_kinds.rescue_asks(new["rescue"])
            if now.bfv and new["rescue"] != "rescue-stable":
                return False  # by Nova's API
            return able and now.state == "active" and not (asks and now.asks is None)
        if name == "unrescue":
            return able and now.state == "rescued"
        if name in ("confirm",):
            return now.state == "resized"
        return False

    def _is_exchanged(self, wanted: Model | str, now: Server) -> bool:
        """Whether a rebuild finds a slot of another model for the server's own."""
        model = isinstance(wanted, Model) and now.slot is not None
        return model and self._has_free(wanted, now.host)

    def _is_refused_by_conductor(self, now: Server, image: str) -> bool:
        only_on = IMAGES[image].only_on
        return image != now.image and only_on not in (None, now.host)

    def _is_short(self, server: Server) -> bool:
        """Whether others run in the slot that a stopped server holds."""
        return server.host in self.foreign

    def _is_free(self, flavor: str, image: str, host: str) -> bool:
        if IMAGES[image].only_on not in (None, host):
            return False
        model = machine_kinds.asked(flavor, image)
        if model is None:
            return True
        if not isinstance(model, Model) or HOSTS[host] == STOCK_DRIVER:
            return False
        if host in self.without_sev:
            return False
        return self._has_free(model, host)

    def _has_free(self, model: Model, host: str) -> bool:
        """Whether a host has a free slot of this model, by what its servers hold."""
        used = sum(
            held == (host, model)
            for server in self.servers.values()
            for held in (server.slot, server.before and server.before.slot)
        )
        used += model is SEV and host in self.foreign
        return used < SLOTS[model]

    def _is_done(self, now: Server, name: str, state: str, said: str) -> bool:
        instance = self.instance(now)
        if instance.vm_state == "error" or said:
            return False
        if name in ("confirm", "revert"):
            return instance.vm_state in ("active", "stopped")
        if instance.vm_state != state:
            return False
        if name in ("hard_reboot", "soft_reboot", "rebuild", "live_migrate"):
            return self._last_action(now) != "Error"
        return True

    def _last_action(self, server: Server) -> str | None:
        actions = objects.InstanceActionList.get_by_instance_uuid(
            self.context, server.uuid
        )
        message: str | None = actions[0].message
        return message

    def _fault(self, server: Server) -> str:
        faults = objects.InstanceFaultList.get_by_instance_uuids(
            self.context, [server.uuid]
        )
        return str(faults[0].message) if faults else ""

    def instance(self, server: Server) -> Any:
        with contextlib.suppress(nova_exception.InstanceNotFound):
            return objects.Instance.get_by_uuid(
                self.context, server.uuid, ["system_metadata", "flavor"]
            )
        return None

    def _settle(self, server: Server) -> None:
        """Wait until Nova does nothing to the server any more."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.cloud.changed.clear()
            now = self.instance(server)
            if now is None:
                # What no host was found for is in another cell's database.
                if self.cloud.api.get_server(server.uuid)["status"] == "ERROR":
                    return
            elif now.task_state is None and now.vm_state != "building":
                return
            if time.monotonic() > deadline:
                state = now and (now.vm_state, now.task_state)
                raise AssertionError(f"{server.name} is still in {state}")
            # A look is a query for a whole server. Not all changes are heard of.
            self.cloud.changed.wait(0.25)

    def _forget(self, server: Server) -> None:
        """Delete a server, whatever state it is in."""
        with contextlib.suppress(ApiError):
            self.cloud.api.delete_server(server.uuid)
        deadline = time.monotonic() + PATIENCE
        while self.instance(server) is not None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{server.name} is not deleted")
            time.sleep(0.05)
        self.servers.pop(server.name, None)

    def _domain_seen(self, server: Server) -> tuple[Any, ...] | None:
        """What of a server's domain a refused step must leave as it was."""
        if server.host is None:
            return None
        domain = self.domains(server.host).get(server.uuid)
        return domain and (domain.ID(), bool(domain.isActive()), domain.XMLDesc(0))

    def _finish(self, step: Step, refused: bool = False, reason: str = "") -> None:
        if refused:
            step = dataclasses.replace(step, refused=True, reason=reason)
        self.check(step)

    # The promises

    def check(self, step: Step) -> None:
        """Hold the world to all promises.

        :raises PromiseBroken: one is broken, and stays so.
        """
        deadline = time.monotonic() + GRACE
        updated = False
        while True:
            broken = next(self._broken(), None)
            if broken is None:
                return
            if time.monotonic() > deadline:
                promise, what = broken
                raise PromiseBroken(promise, step, what)
            if not updated:
                # The driver may give back at its next look what Nova has taken.
                updated = True
                for host in OURS:
                    self.update(host)
            time.sleep(0.05)

    def _broken(self) -> Iterator[tuple[str, str]]:
        domains = {host: self.domains(host) for host in HOSTS}
        placement = Placement.read()
        for server in self.servers.values():
            for promise, what in self._broken_of(server, domains, placement):
                yield promise, f"{server.name} {what}"
        yield from self._slots_given_twice(domains, placement)

    def _broken_of(
        self,
        server: Server,
        domains: Mapping[str, Mapping[str, Any]],
        placement: Placement,
    ) -> Iterator[tuple[str, str]]:
        instance = self.instance(server)
        if instance.vm_state != server.state:
            yield "state", f"is {instance.vm_state}, not {server.state}"
        if instance.host != server.host:
            yield "state", f"is on {instance.host}, not {server.host}"
        yield from self._wrong_domain(server, domains)
        yield from self._wrong_record(server, instance)
        yield from self._wrong_allocations(server, placement)

    def _wrong_domain(
        self, server: Server, domains: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, str]]:
        found = {
            host: own[server.uuid]
            for host, own in domains.items()
            if server.uuid in own and own[server.uuid].isActive()
        }
        expected = {server.host} if server.on else set()
        if set(found) != expected:
            yield "runs", f"runs on {sorted(found)}, not on {sorted(expected)}"
        if server.unwatched:
            return
        for host, domain in found.items():
            has, asks = encryption(domain.defined_as), server.asks
            if has is not asks and not (asks == machine_kinds.TDX and has is None):
                promise = "in the clear" if has is None else "encryption"
                yield promise, f"runs on {host} with {has}, and asks for {asks}"
            yield from self._wrong_devices(server, domain)
            if asks == machine_kinds.TDX:
                yield "in the clear", f"runs on {host}, and asks for {asks}"
            said = server.was_encrypted or "hw_machine_type" in self._said(server)
            if asks is None and not said:
                machine = ET.fromstring(domain.defined_as).find("os/type")
                if "q35" in str(machine.get("machine")):
                    yield "plain", "is no encrypted guest, and has the machine of one"

    def _wrong_devices(self, server: Server, domain: Any) -> Iterator[tuple[str, str]]:
        found = len(domain._def["devices"]["nics"])
        ports = sum(device != "volume" for device in server.devices.values())
        if found != ports:
            yield "devices", f"has {found} ports, not {ports}"
        if server.asks and "direct" in server.devices.values():
            yield "devices", "is encrypted and has a device of the host"

    def _said(self, server: Server) -> Mapping[str, str]:
        return IMAGES[server.shown].properties

    def _wrong_record(self, server: Server, instance: Any) -> Iterator[tuple[str, str]]:
        if server.state == "shelved_offloaded":
            return
        if instance.image_ref != ("" if server.bfv else self.images[server.image]):
            yield "record", f"has image {instance.image_ref}, not {server.image}"
        own = self._said(server)
        names = {*own, *_KEPT_OF_IMAGES}
        if server.asks is None:
            # Of a plain server, stock Nova records the one of a rescue image.
            names.discard("hw_machine_type")
        for name in names:
            kept = instance.system_metadata.get(f"image_{name}")
            if server.bfv and name == "hw_machine_type" and name not in own:
                continue
            if kept != own.get(name):
                yield "record", f"has {name}={kept}, not {own.get(name)}"
        flavor = instance.flavor.flavorid
        if flavor != self.flavors[server.flavor]:
            yield "record", f"has flavor {flavor}, not {server.flavor}"

    def _wrong_allocations(
        self, server: Server, placement: Placement
    ) -> Iterator[tuple[str, str]]:
        expected: dict[str, dict[str, int]] = {}
        if server.host is not None:
            expected = self._resources(server)
        held = placement.held(server.uuid)
        if held != expected:
            promise = REFUSED_FLAVOR if server.resize_refused else "allocations"
            yield promise, f"holds {held}, not {expected}"
        if server.before is not None:
            held = placement.held(self._held_before(server))
            expected = self._resources(server.before)
            if held != expected:
                yield "allocations", f"holds {held} for its return, not {expected}"

    def _resources(self, server: Server) -> dict[str, dict[str, int]]:
        flavor = FLAVORS[server.flavor]
        root = {"VCPU": flavor.vcpus, "MEMORY_MB": 512, "DISK_GB": 1}
        if server.bfv:
            del root["DISK_GB"]
        resources = {server.host: root}
        if server.slot is not None:
            host, model = server.slot
            if HOSTS[host] == STOCK_DRIVER and novas.RELEASE < 32:
                root[SLOT] = 1
            else:
                resources[f"{host}_{model.symbol}"] = {SLOT: 1}
        return resources

    def _held_before(self, server: Server) -> str:
        migration = objects.Migration.get_by_instance_and_status(
            self.context, server.uuid, "finished"
        )
        uuid: str = migration.uuid
        return uuid

    def _slots_given_twice(
        self, domains: Mapping[str, Mapping[str, Any]], placement: Placement
    ) -> Iterator[tuple[str, str]]:
        for host in OURS:
            run = [
                encryption(domain.defined_as)
                for domain in domains[host].values()
                if domain.isActive()
            ]
            for model, count in SLOTS.items():
                if run.count(model) > count:
                    yield "slots", f"{host} runs {run.count(model)} of {model.title}"
        for name, (total, reserved) in placement.slots.items():
            host = name.partition("_")[0]
            gone = host in self.without_sev or host in self.foreign
            used = placement.used(name).get(SLOT, 0)
            if used > total - reserved and host in OURS and not gone:
                yield "slots", f"{name} has {total} - {reserved}, and {used} are used"

    # Between two examples

    def give_up(self, broken: PromiseBroken) -> None:
        """Go on without the server of which a promise is broken."""
        if broken.step.server is not None:
            self._forget(broken.step.server)

    def reset(self) -> None:
        """Make the world what it was at its start.

        :raises PromiseBroken: something is left of servers that are gone.
        """
        for server in list(self.servers.values()):
            self._forget(server)
        for host in list(self.foreign):
            self.foreign.pop(host).destroy()
            self.update(host)
        for host in list(self.without_sev):
            self.regain_sev(host)
        self.cloud.target = None
        self._check_empty()

    def _check_empty(self) -> None:
        step = Step("reset", {})
        deadline = time.monotonic() + GRACE
        while left := list(self._left()):
            if time.monotonic() > deadline:
                raise PromiseBroken("left behind", step, left[0])
            time.sleep(0.05)

    def _left(self) -> Iterator[str]:
        for host in HOSTS:
            if names := list(self.domains(host)):
                yield f"{host} has domains {names}"
        for consumer, name, resource, _ in Placement.read().allocations:
            yield f"{consumer} holds {resource} of {name}"


@dataclasses.dataclass(frozen=True)
class Placement:
    """What Placement has on record: its API takes a request for each provider."""

    #: Consumer, provider's name, resource class, and how many.
    allocations: tuple[tuple[str, str, str, int], ...]
    #: Total and reserved slots by the provider's name.
    slots: Mapping[str, tuple[int, int]]

    @classmethod
    def read(cls) -> Placement:
        with db_api.get_placement_engine().connect() as connection:

            def rows(query: str) -> list[Any]:
                return list(map(tuple, connection.execute(sqlalchemy.text(query))))

            return cls(
                tuple(rows(_ALLOCATIONS)),
                {
                    name: (total, reserved)
                    for name, resource, total, reserved in rows(_INVENTORIES)
                    if resource == SLOT
                },
            )

    def held(self, consumer: str) -> dict[str, dict[str, int]]:
        """Return what a consumer holds, by the provider's name."""
        held: dict[str, dict[str, int]] = {}
        for owner, provider, resource, used in self.allocations:
            if owner == consumer:
                held.setdefault(provider, {})[resource] = used
        return held

    def used(self, name: str) -> collections.Counter[str]:
        used: collections.Counter[str] = collections.Counter()
        for _, provider, resource, count in self.allocations:
            used[resource] += count if provider == name else 0
        return used


_ALLOCATIONS = """
    SELECT allocations.consumer_id, resource_providers.name, resource_classes.name,
           allocations.used
    FROM allocations
    JOIN resource_providers ON resource_providers.id = resource_provider_id
    JOIN resource_classes ON resource_classes.id = resource_class_id
"""
_INVENTORIES = """
    SELECT resource_providers.name, resource_classes.name, total, reserved
    FROM inventories
    JOIN resource_providers ON resource_providers.id = resource_provider_id
    JOIN resource_classes ON resource_classes.id = resource_class_id
"""

#: Properties whose absence matters as much as their value.
_KEPT_OF_IMAGES = (
    "hw_mem_encryption",
    "hw_mem_encryption_model",
    "hw_firmware_type",
    "hw_firmware_stateless",
)


def encryption(xml: str) -> Model | None:
    """Return the model with which a domain was defined, None for one in the clear."""
    security = ET.fromstring(xml).find("launchSecurity")
    if security is None:
        return None
    if security.get("type") == "sev-snp":
        return SNP
    policy = int(security.findtext("policy") or "0", 0)
    return ES if policy & 4 else SEV


def difference(before: Any, after: Any) -> str:
    """Say in a line what has become of a domain."""
    if before is None or after is None:
        return f"its domain is {'gone' if before else 'new'}"
    if before[:2] != after[:2]:
        return f"its domain's number and power {before[:2]} became {after[:2]}"
    lines = zip(before[2].splitlines(), after[2].splitlines(), strict=False)
    changed = (
        f"{old.strip()} became {new.strip()}" for old, new in lines if old != new
    )
    return next(changed, "its domain is longer or shorter")


def reason(error: ApiError) -> str:
    """Return what the API says, without its braces."""
    return str(error).partition('"message": ')[2].strip('"}').partition('", "')[0][:200]
