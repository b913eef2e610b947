# SPDX-License-Identifier: Apache-2.0

"""tempest.conf of the one-machine cloud, and the flavors and images that it names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tempest_results as results

from devcloud.config import cinder, common, neutron
from devcloud.testing import CloudFixture

#: Tests resize a server from the first flavor to the second.
SIZES = ({"ram": 256, "disk": 1}, {"ram": 320, "disk": 2})
#: Networks by their names: that of all servers, and the one that leads out of the
#: cloud, which floating addresses are taken from. The addresses are RFC 5737's.
SHARED, PUBLIC = "shared", "public"
ADDRESSES = {SHARED: "192.0.2.0/24", PUBLIC: "198.51.100.0/24"}
#: In seconds: the first is how often Tempest looks.
QUICK = {"build_interval": 1, "build_timeout": 240}


@dataclasses.dataclass(frozen=True)
class Networks:
    """What Tempest must know of the network service.

    :ivar public: the id of the network that leads out of the cloud
    :ivar extensions: what the service's API has
    """

    public: str
    extensions: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a run's servers are made of: ids of two flavors and of two images.

    :ivar networks: of a cloud that has a network service
    """

    flavors: Sequence[str]
    images: Sequence[str]
    networks: Networks | None = None


def make_images(make: Callable[..., str]) -> list[str]:
    """Make images that each kind of flavor can boot, for the projects of all tests.

    :param make: a method of the cloud that makes an image: which one decides what
        its guests do
    """
    properties = {
        "hw_firmware_type": "uefi",
        "hw_machine_type": "q35",
        "hw_disk_bus": "virtio",
        "visibility": "public",
    }
    return [make(f"tempest{number}", **properties) for number in (1, 2)]


def make_flavors(cloud: CloudFixture, kind: str) -> list[str]:
    """Make the flavors of one of ``tempest_results.FLAVORS``."""
    compute = cloud.connection.compute
    made = [
        compute.create_flavor(name=f"tempest.{kind}{number}", vcpus=1, **size)
        for number, size in enumerate(SIZES, 1)
    ]
    if kind == results.ENCRYPTED:
        for flavor in made:
            compute.create_flavor_extra_specs(flavor, {"hw:mem_encryption": "true"})
    return [str(flavor.id) for flavor in made]


def make_networks(cloud: CloudFixture) -> Networks:
    """Make the networks, and the router between them, of a cloud with Neutron.

    All projects share one: networks for each class of tests, which Tempest would
    make and delete, take longer than most of the tests.
    """
    network = cloud.connection.network
    shared = network.create_network(name=SHARED, is_shared=True)
    public = network.create_network(
        name=PUBLIC,
        is_router_external=True,
        provider_network_type="flat",
        provider_physical_network=neutron.PHYSICAL,
    )
    inside, _ = (
        network.create_subnet(
            network_id=net.id,
            ip_version=4,
            cidr=ADDRESSES[net.name],
            enable_dhcp=False,
        )
        for net in (shared, public)
    )
    router = network.create_router(external_gateway_info={"network_id": public.id})
    network.add_interface_to_router(router, subnet=inside.id)
    extensions = sorted(extension.alias for extension in network.extensions())
    return Networks(str(public.id), extensions)


def sections(
    cloud: CloudFixture, parts: Parts, work: Path
) -> Mapping[str, Mapping[str, Any]]:
    """Return the sections of tempest.conf for a cloud that runs.

    :param work: the folder of Tempest's log and locks.
    """
    settings, ports = cloud.cloud.settings, cloud.cloud.ports
    has_volumes = settings.volumes == "cinder"
    networks = parts.networks
    return {
        "DEFAULT": {"log_dir": work, "log_file": "tempest.log"},
        "oslo_concurrency": {"lock_path": work / "locks"},
        "auth": {
            "admin_username": "admin",
            "admin_password": settings.password,
            "admin_project_name": "admin",
            "admin_domain_name": "Default",
            "use_dynamic_credentials": True,
            "create_isolated_networks": False,
            "tempest_roles": "member",
        },
        "identity": {
            "uri_v3": ports.url("keystone"),
            "auth_version": "v3",
            "region": common.REGION,
        },
        "service_available": {
            "neutron": networks is not None,
            "cinder": has_volumes,
            "swift": False,
            "horizon": False,
        },
        # The guests have nothing to log in to.
        "validation": {"run_validation": False},
        "compute": _compute(len(settings.nodes), parts),
        "compute-feature-enabled": _features(
            has_volumes=has_volumes, has_networks=networks is not None
        ),
        **(_network(networks) if networks else {}),
        "image": QUICK,
        "volume": {
            **QUICK,
            # The name of the service in the cloud's catalog.
            "catalog_type": "volumev3",
            "volume_type": cinder.BACK_ENDS[0],
        },
    }


def _network(networks: Networks) -> dict[str, dict[str, Any]]:
    return {
        "network": {
            "public_network_id": networks.public,
            "floating_network_name": PUBLIC,
        },
        "network-feature-enabled": {
            "api_extensions": ",".join(networks.extensions),
            "floating_ips": True,
            "port_security": True,
        },
    }


def _compute(hosts: int, parts: Parts) -> dict[str, Any]:
    return {
        **QUICK,
        **({"fixed_network_name": SHARED} if parts.networks else {}),
        "flavor_ref": parts.flavors[0],
        "flavor_ref_alt": parts.flavors[1],
        "image_ref": parts.images[0],
        "image_ref_alt": parts.images[1],
        "min_compute_nodes": hosts,
        "max_microversion": "latest",
        "ready_wait": 0,
        "shelved_offload_time": 0,
    }


def _features(*, has_volumes: bool, has_networks: bool) -> dict[str, Any]:
    return {
        "resize": True,
        "cold_migration": True,
        # Encrypted servers cannot be suspended: tempest_expected.toml has the
        # tests that try.
        "suspend": True,
        "rescue": True,
        "stable_rescue": True,
        "shelve": True,
        "shelve_migrate": True,
        "block_migration_for_live_migration": False,
        "interface_attach": has_networks,
        "attach_encrypted_volume": False,
        "swap_volume": has_volumes,
        # Cinder's NFS driver has none that several servers can use.
        "volume_multiattach": False,
        "metadata_service": False,
        "personality": False,
        "vnc_console": False,
        # q35 has no IDE bus.
        "ide_bus": False,
    }
