# SPDX-License-Identifier: Apache-2.0

"""tempest.conf of the one-machine cloud, and the flavors and images that it names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tempest_results as results

from devcloud.config import cinder, common
from devcloud.testing import CloudFixture

#: Tests resize a server from the first flavor to the second.
SIZES = ({"ram": 256, "disk": 1}, {"ram": 320, "disk": 2})
#: In seconds: the first is how often Tempest looks.
QUICK = {"build_interval": 1, "build_timeout": 240}


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a run's servers are made of: ids of two flavors and of two images."""

    flavors: Sequence[str]
    images: Sequence[str]


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


def sections(
    cloud: CloudFixture, parts: Parts, work: Path
) -> Mapping[str, Mapping[str, Any]]:
    """Return the sections of tempest.conf for a cloud that runs.

    :param work: the folder of Tempest's log and locks.
    """
    settings, ports = cloud.cloud.settings, cloud.cloud.ports
    has_volumes = settings.volumes == "cinder"
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
            "neutron": False,
            "cinder": has_volumes,
            "swift": False,
            "horizon": False,
        },
        # The guests have no network, and nothing to log in to.
        "validation": {"run_validation": False},
        "compute": _compute(len(settings.nodes), parts),
        "compute-feature-enabled": _features(has_volumes=has_volumes),
        "image": QUICK,
        "volume": {
            **QUICK,
            # The name of the service in the cloud's catalog.
            "catalog_type": "volumev3",
            "volume_type": cinder.BACK_ENDS[0],
        },
    }


def _compute(hosts: int, parts: Parts) -> dict[str, Any]:
    return {
        **QUICK,
        "flavor_ref": parts.flavors[0],
        "flavor_ref_alt": parts.flavors[1],
        "image_ref": parts.images[0],
        "image_ref_alt": parts.images[1],
        "min_compute_nodes": hosts,
        "max_microversion": "latest",
        "ready_wait": 0,
        "shelved_offload_time": 0,
    }


def _features(*, has_volumes: bool) -> dict[str, Any]:
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
        "interface_attach": False,
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
