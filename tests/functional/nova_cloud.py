# SPDX-License-Identifier: Apache-2.0

"""A cloud in one process: real Nova services on Nova's own fixtures."""

import contextlib
import functools
import itertools
import pathlib
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from unittest import mock

import fixtures
import pytest
import sqlalchemy.pool
from nova import context as nova_context
from nova import objects
from nova.compute import rpcapi
from nova.conf import CONF
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.api import client as api_client
from nova.tests.functional.libvirt import base
from nova.virt.libvirt.driver import LibvirtDriver
from nova.volume import cinder
from novas import WITH_SEV
from oslo_utils import uuidutils
from oslo_utils.fixture import uuidsentinel as uuids
from with_driver import SEV_DRIVER, WithSEVDriver

#: As in the capabilities of Nova's fake libvirt on a host with SEV.
SLOTS = 100
COMPUTE = "compute1"

UEFI = {"hw_firmware_type": "uefi"}
ASKED_BY_IMAGE = UEFI | {"hw_mem_encryption": "true"}
ASKED_BY_FLAVOR = {"hw:mem_encryption": "true"}
ASKERS = {
    "flavor": (UEFI, ASKED_BY_FLAVOR),
    "image": (ASKED_BY_IMAGE, {}),
    "both": (ASKED_BY_IMAGE, ASKED_BY_FLAVOR),
}

ApiError = api_client.OpenStackApiException


class KeptPool(sqlalchemy.pool.QueuePool):
    """Connections that are kept, as many as there are sessions at once.

    They are to files, which do not go away: no session asks first whether they have.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "pool_size": 0, "pre_ping": False})


class Cloud(WithSEVDriver, base.ServersTestBase):
    """One API, one scheduler, one Placement; computes are started by the tests.

    Nova's fixtures want a test case; :func:`cloud` drives it without one.
    """

    __test__ = False  # nothing for pytest to collect
    microversion = "latest"
    ADMIN_API = True

    def setUp(self) -> None:
        self._keep_connections()
        super().setUp()
        self._let_idle_threads_rest()
        self._numbers = itertools.count()
        self.flags(group="quota", instances=-1, cores=-1, ram=-1)
        self.kvm_parameters = self.libvirt.amd_sev
        self.kvm_parameters.sev = True
        self.defined: list[str] = []
        self.attached: list[str] = []
        self._record("Connection.defineXML", self.defined)
        self._record("Domain.attachDeviceFlags", self.attached)
        self._remember_launch_security()
        self._keep_volumes()
        self._hear_of_servers()

    def start_service(self, name: str, *args: Any, **kwargs: Any) -> Any:
        # Tests of a cloud may take long on a busy machine, and no service reports
        # meanwhile. A host that shall fail is forced down. Services read the option
        # when they start.
        self.flags(service_down_time=100_000)
        return super().start_service(name, *args, **kwargs)

    def _hear_of_servers(self) -> None:
        """Set an event whenever a server may be in the state that a test waits for."""
        self.changed = threading.Event()
        save, create = objects.Instance.save, objects.InstanceFault.create

        # remotable() looks the method up in the class by its own name.
        @functools.wraps(save)
        def save_and_say(server: Any, *args: Any, **kwargs: Any) -> Any:
            answer = save(server, *args, **kwargs)
            if server.task_state is None:
                self.changed.set()
            return answer

        @functools.wraps(create)
        def create_and_say(fault: Any, *args: Any, **kwargs: Any) -> Any:
            answer = create(fault, *args, **kwargs)
            self.changed.set()
            return answer

        for name, method in (
            ("instance.Instance.save", save_and_say),
            ("instance_fault.InstanceFault.create", create_and_say),
        ):
            self.useFixture(fixtures.MonkeyPatch(f"nova.objects.{name}", method))

    def _keep_connections(self) -> None:
        """Have each session not open its database anew.

        oslo.db keeps no connections to a file of SQLite, where Nova's tests have their
        databases from 34 on.
        """
        self.useFixture(fixtures.MonkeyPatch("sqlalchemy.pool.NullPool", KeptPool))

    def _let_idle_threads_rest(self) -> None:
        """Have idle threads look twice a second whether they shall end.

        Nova's tests have each look 100 times a second, for a cloud that ends with its
        test. Ours lives for a whole file, and has up to 200 such threads, which would
        take a quarter of a core.
        """
        worker = "futurist._thread.ThreadWorker"
        self.useFixture(fixtures.MonkeyPatch(f"{worker}.MAX_IDLE_FOR", 0.5))

    def _record(self, method: str, log: list[str]) -> None:
        """Keep each XML that libvirt is given by ``method``."""
        owner, _, name = method.partition(".")
        original = getattr(getattr(fakelibvirt, owner), name)

        def recorder(this: Any, xml: str | bytes, *args: Any, **kw: Any) -> Any:
            log.append(xml.decode() if isinstance(xml, bytes) else xml)
            return original(this, xml, *args, **kw)

        target = f"nova.tests.fixtures.libvirt.{method}"
        self.useFixture(fixtures.MonkeyPatch(target, recorder))

    def _remember_launch_security(self) -> None:
        """Nova's fake libvirt forgets that element of a domain; the real one not."""
        known: dict[str, str] = {}
        parse, describe = (
            fakelibvirt.Domain._parse_definition,
            fakelibvirt.Domain.XMLDesc,
        )

        def remember(domain: Any, xml: str) -> Any:
            definition = parse(domain, xml)
            element = ET.fromstring(xml).find("launchSecurity")
            text = "" if element is None else ET.tostring(element, encoding="unicode")
            known[definition["uuid"]] = text
            return definition

        def recall(domain: Any, flags: int) -> str:
            text: str = describe(domain, flags)
            element = known.get(domain.UUIDString(), "")
            return text.replace("</domain>", f"{element}</domain>")

        domain = "nova.tests.fixtures.libvirt.Domain"
        self.useFixture(fixtures.MonkeyPatch(f"{domain}._parse_definition", remember))
        self.useFixture(fixtures.MonkeyPatch(f"{domain}.XMLDesc", recall))

    def _keep_volumes(self) -> None:
        """Have Cinder know the properties of volumes, and write images to them."""
        #: The image properties of bootable volumes, by the volume's id.
        self.bootable: dict[str, dict[str, str]] = {}
        get = cinder.API.get

        def get_volume(api: Any, context: Any, uuid: str, *args: Any, **kw: Any) -> Any:
            # From Nova 30 on the fixture's is a mock, which is not bound.
            of_fixture = get if hasattr(get, "mock_calls") else get.__get__(api)
            volume = of_fixture(context, uuid, *args, **kw)
            if uuid in self.bootable:
                volume["bootable"] = True
                volume["volume_image_metadata"] = dict(self.bootable[uuid])
            return volume

        def write_image(
            api: Any, context: Any, uuid: str, image: str, *args: Any, **kw: Any
        ) -> None:
            self.bootable[uuid] = _as_of_image(self.glance.images[image])
            (attachment,) = self.cinder.volume_to_attachment[uuid].values()
            # What Cinder then tells Nova's API, which passes it on.
            event = objects.InstanceExternalEvent(
                name="volume-reimaged", tag=uuid, status="completed"
            )
            server = objects.Instance.get_by_uuid(
                nova_context.get_admin_context(), attachment["instance_uuid"]
            )
            for compute in self.computes.values():
                compute.manager._process_instance_event(server, event)

        api = "nova.volume.cinder.API"
        self.useFixture(fixtures.MonkeyPatch(f"{api}.get", get_volume))
        self.useFixture(fixtures.MonkeyPatch(f"{api}.reimage_volume", write_image))

    # The host

    @contextlib.contextmanager
    def domain_features(self, xml: str) -> Iterator[None]:
        """Have libvirt's domain capabilities contain ``xml``."""
        target = fakelibvirt.virConnect
        with mock.patch.object(target, "_domain_capability_features", xml):
            yield

    @property
    def driver(self) -> Any:
        return self.computes[COMPUTE].driver

    def use_driver(self, driver: str) -> None:
        """Name the driver that computes load from their next start."""
        self.compute_driver = driver
        self.flags(compute_driver=driver)

    def restart(self, hostname: str = COMPUTE) -> None:
        """Restart a compute; its guests stay."""
        self.restart_compute_service(hostname)

    # Images, flavors, servers

    def image(self, name: str, **properties: str) -> str:
        """Put an image into Glance and return its id."""
        image_id: str = getattr(uuids, name)
        properties.setdefault("architecture", "x86_64")
        image = {**self.glance.image1, "id": image_id, "name": name}
        if image_id not in self.glance.images:
            self.glance.create(None, {**image, "properties": properties})
        return image_id

    def volume(self, image: str) -> str:
        """Put a volume with the content of an image into Cinder and return its id."""
        volume_id: str = uuidutils.generate_uuid()
        self.bootable[volume_id] = _as_of_image(self.glance.images[image])
        return volume_id

    def flavor(
        self, name: str, specs: Mapping[str, str] | None = None, vcpus: int = 2
    ) -> str:
        """Make a flavor, unless it is there, and return its id."""
        size = {"vcpu": vcpus, "memory_mb": 512, "disk": 1, "ephemeral": 0}
        try:
            self._create_flavor(
                id=name, name=name, extra_spec=dict(specs or {}), **size
            )
        except ApiError as error:
            if error.response.status_code != HTTPStatus.CONFLICT:
                raise
        return name

    def server(
        self,
        image: str,
        flavor: str,
        state: str = "ACTIVE",
        networks: Any = "none",
        **body: Any,
    ) -> dict[str, Any]:
        """Create a server through the API and wait until it is in ``state``."""
        request = self._build_server(None, image, flavor, networks)
        answer = self.api.post_server({"server": {**request, **body}})
        # Nova's fixtures make no disks, and so not the folder where rescue saves XML.
        (pathlib.Path(CONF.instances_path) / answer["id"]).mkdir()
        return self._wait_for_state_change(answer, state)

    def boot(
        self,
        image: Mapping[str, str] | None = None,
        flavor: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Create a server of a new image and a new flavor with these properties."""
        number = next(self._numbers)
        image_id = self.image(f"image-{number}", **(image or {}))
        return self.server(
            image_id, self.flavor(f"flavor-{number}", flavor), **arguments
        )

    def act(self, server: dict[str, Any], action: Any, state: str) -> None:
        """Post an action and wait until the server is in ``state``."""
        self.api.post_server_action(server["id"], action)
        self.wait_for(server, state)

    def attempt(self, server: dict[str, Any], action: Any, state: str) -> None:
        """Post an action that fails on the compute, and wait for ``state``."""
        # Nova's fixtures make calls of casts, and so hand the failure to the API.
        with contextlib.suppress(ApiError):
            self.api.post_server_action(server["id"], action)
        self.wait_for(server, state)

    def _wait_for_server_parameter(
        self,
        server: dict[str, Any],
        expected_params: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        # Nova's own looks twice a second, ten times: slow, and too few on a busy host.
        deadline = time.monotonic() + 60
        while True:
            self.changed.clear()
            now: dict[str, Any] = self.api.get_server(server["id"])
            reached = all(now[key] == value for key, value in expected_params.items())
            # Nova sets the status ERROR before it records why.
            if reached and ("fault" in now or now["status"] != "ERROR"):
                return now
            seen = {key: now[key] for key in (*expected_params, "fault") if key in now}
            lost = now["status"] == "ERROR" and "fault" in now
            over = lost or time.monotonic() > deadline
            self.assertFalse(over, f"{expected_params}: {seen}")
            # A look is a whole request to Nova's API. A server can also be lost to a
            # host without a word of its own.
            self.changed.wait(2)

    def wait_for(self, server: dict[str, Any], state: str) -> None:
        """Wait until nothing is done to the server any more and it is in ``state``."""
        wanted = {"status": state, "OS-EXT-STS:task_state": None}
        self._wait_for_server_parameter(server, wanted)

    def hard_reboot(self, server: dict[str, Any], state: str = "ACTIVE") -> None:
        self.act(server, {"reboot": {"type": "HARD"}}, state)

    def evacuate(
        self, server: dict[str, Any], source: str, host: str, **reached: str
    ) -> Any:
        """Evacuate a server from a compute that fails; return that compute, stopped.

        :param host: whose the server is then; ``reached`` is what else it has.
        """
        failed = self.computes[source]
        failed.stop()
        self.api.put_service_force_down(failed.service_ref.uuid, True)
        self.defined.clear()
        # As in attempt().
        with contextlib.suppress(ApiError):
            self.api.post_server_action(server["id"], {"evacuate": {}})
        wanted = {"OS-EXT-SRV-ATTR:host": host, "OS-EXT-STS:task_state": None}
        self._wait_for_server_parameter(server, {**wanted, **reached})
        return failed

    def fault(self, server: dict[str, Any]) -> str:
        """Return what ``openstack server show`` says of a server in ERROR."""
        message: str = self.api.get_server(server["id"])["fault"]["message"]
        return message

    def last_event(self, server: dict[str, Any]) -> str:
        """Return what ``openstack server event show`` says of the last action."""
        action = self.api.get_instance_actions(server["id"])[0]
        details = self.api.get_instance_action_details(
            server["id"], action["request_id"]
        )
        return " ".join(str(event["details"]) for event in details["events"])

    @property
    def log(self) -> str:
        """What was logged at INFO and above since the cloud's start."""
        return str(self.stdlog.logger.output)

    # Placement

    def providers(self, hostname: str = COMPUTE) -> dict[str, str]:
        """Return the uuids of a compute's providers by name."""
        root = self._get_provider_uuid_by_name(hostname)
        return {p["name"]: p["uuid"] for p in self._get_all_rps_in_a_tree(root)}

    def resources_of(self, server: dict[str, Any]) -> dict[str, dict[str, int]]:
        """Return what a server holds, by the uuid of the provider."""
        held = self._get_allocations_by_server_uuid(server["id"])
        return {uuid: record["resources"] for uuid, record in held.items()}

    def slots(self, hostname: str = COMPUTE) -> int | None:
        """Return the slots of a compute's SEV provider, None without one."""
        inventory = self.slot_inventories(hostname).get(f"{hostname}_amd_sev")
        return None if inventory is None else inventory[0]

    def slot_inventories(self, hostname: str = COMPUTE) -> dict[str, tuple[int, int]]:
        """Return total and reserved of each provider that has slots, by its name."""
        inventories = {
            name: self._get_provider_inventory(uuid).get("MEM_ENCRYPTION_CONTEXT")
            for name, uuid in self.providers(hostname).items()
        }
        return {
            name: (inventory["total"], inventory["reserved"])
            for name, inventory in inventories.items()
            if inventory is not None
        }

    def traits(self, provider: str, hostname: str = COMPUTE) -> set[str]:
        """Return the traits of one of a compute's providers, by its name."""
        return set(self._get_provider_traits(self.providers(hostname)[provider]))

    def add_trait(self, hostname: str, trait: str) -> None:
        """Create a custom trait and give it to a compute."""
        self._create_trait(trait)
        uuid = self._get_provider_uuid_by_name(hostname)
        kept = self._get_provider_traits(uuid)
        self._set_provider_traits(uuid, [*kept, trait])

    def slots_used(self, hostname: str = COMPUTE) -> int:
        uuid = self.providers(hostname)[f"{hostname}_amd_sev"]
        used: int = self._get_provider_usages(uuid)["MEM_ENCRYPTION_CONTEXT"]
        return used


# With Nova's own signature: our driver looks arguments up in it.
@functools.wraps(LibvirtDriver.migrate_disk_and_power_off)
def only_power_off(
    driver: Any, context: Any, instance: Any, *args: Any, **kwargs: Any
) -> str:
    driver.power_off(instance)
    return "{}"


def move_no_disks(patch: pytest.MonkeyPatch) -> None:
    """Have Nova's half of a move only power off: Nova's fixtures make no disks."""
    patch.setattr(LibvirtDriver, "migrate_disk_and_power_off", only_power_off)


def cast_resizes(patch: pytest.MonkeyPatch) -> None:
    """Have a new host learn nothing of what fails on the old one.

    It asks the old host by a cast, of which Nova's fixtures make a call.
    """
    resize = rpcapi.ComputeAPI.resize_instance

    def cast(*args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(Exception):
            resize(*args, **kwargs)

    patch.setattr(rpcapi.ComputeAPI, "resize_instance", cast)


def boot_volume(volume_id: str) -> dict[str, Any]:
    """Return what to ask Nova's API for to boot a server from this volume."""
    disk = {
        "boot_index": 0,
        "uuid": volume_id,
        "source_type": "volume",
        "destination_type": "volume",
    }
    return {"imageRef": "", "block_device_mapping_v2": [disk]}


def _as_of_image(image: Mapping[str, Any]) -> dict[str, str]:
    """Return what Cinder keeps with a volume that was made of this image."""
    own = {name: str(image[name]) for name in ("min_ram", "min_disk")}
    return {**image["properties"], **own, "image_id": image["id"]}


@contextlib.contextmanager
def cloud(driver: str = SEV_DRIVER, compute: bool = True) -> Iterator[Cloud]:
    """A running cloud, with one compute on a host with SEV unless told otherwise."""
    case = Cloud()
    case.compute_driver = driver
    try:
        case.setUp()
        with case.domain_features(WITH_SEV):
            if compute:
                case.start_compute(COMPUTE)
            yield case
    finally:
        case.tearDown()
        case.doCleanups()


def find(xml: str, path: str) -> ET.Element:
    """Return the one element at ``path`` below the root of ``xml``."""
    (element,) = ET.fromstring(xml).findall(path)
    return element


def assert_encrypted(xml: str) -> None:
    security = find(xml, "launchSecurity")
    assert security.get("type") == "sev"
    policy = int(find(xml, "launchSecurity/policy").text or "", 0)
    assert policy & 1, "debugging is allowed"
    assert not policy & 4, "the policy is of SEV-ES"
    assert find(xml, "memoryBacking/locked") is not None
    assert "q35" in str(find(xml, "os/type").get("machine"))


def instance_of(server: dict[str, Any]) -> objects.Instance:
    return objects.Instance.get_by_uuid(
        nova_context.get_admin_context(), server["id"], ["system_metadata", "flavor"]
    )


def driver_record(server: dict[str, Any]) -> dict[str, str]:
    """Return what the driver has stored with a server."""
    found = instance_of(server).system_metadata
    return {key: found[key] for key in found if key.startswith("sev_driver")}
