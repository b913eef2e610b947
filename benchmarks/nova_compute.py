# SPDX-License-Identifier: Apache-2.0
"""Imports what nova-compute imports, starts the driver, and says what that took.

``python -m benchmarks.nova_compute NOVA_CONF DRIVER`` prints, in JSON, the seconds
of the imports and the memory of this process in MiB.
"""

import json
import os
import sys
import time

BEFORE = time.perf_counter()

import nova.cmd.compute  # noqa: E402
from oslo_utils import importutils  # noqa: E402


def resident() -> float:
    """MiB of this process alone, and its share of what others have too."""
    with open("/proc/self/smaps_rollup") as file:
        sizes = dict(line.split(None, 1) for line in list(file)[1:])
    return int(sizes["Pss:"].split()[0]) / 1024


def main(conf: str, driver: str) -> None:
    driver_class = importutils.import_class(f"nova.virt.{driver}")
    imported = time.perf_counter() - BEFORE
    nova.config.parse_args(["nova-compute", "--config-file", conf])
    nova.objects.register_all()
    driver_class(None).init_host("node1")
    print(json.dumps({"seconds": imported, "mib": resident()}), flush=True)
    os._exit(0)  # libvirt's threads would keep it


main(*sys.argv[1:])
