# SPDX-License-Identifier: Apache-2.0
"""Runs on the host of a cloud, in its namespaces: one driver, updated again and again.

``python -m soak.on_host NOVA_CONF OUTPUT UPDATES POINTS`` writes what the process
holds at so many points, a line of JSON each, the last one after all updates.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import json
import os
import pathlib
import sys
from typing import Any

from benchmarks import on_host  # the first: it has Nova patch the process

# isort: split
import os_vif
from nova import config, objects
from nova.conf import CONF, neutron
from nova.scheduler.client import report

from benchmarks.on_host import NODE
from soak.passers_by import PassersBy

#: nova-compute updates every minute, and the driver audits every ten.
UPDATES_AN_AUDIT = 10
UPDATES_A_CHANGE = 10


def main(conf: str, output: str, updates: str, points: str) -> None:
    config.parse_args(["nova-compute", "--config-file", conf])
    neutron.register_dynamic_opts(CONF)
    CONF.set_override("audit_interval", 0, "sev")  # audits are counted here
    objects.register_all()
    os_vif.initialize()
    client = report.report_client_singleton()
    tree = on_host.placements_tree(client)
    driver = on_host.driver("ours", client)
    driver.init_host(NODE)
    others = PassersBy(os.environ["LIBVIRT_DEFAULT_URI"])
    others.join(driver._host.get_connection())
    for number in range(1, int(updates) + 1):
        if number % UPDATES_A_CHANGE == 0:
            others.change()
        update(driver, tree)
        if number % UPDATES_AN_AUDIT == 0:
            driver._audit.run(CONF.host)
        if number % (int(updates) // int(points)) == 0:
            point = {"updates": number, **held()}
            with open(output, "a") as file:
                print(json.dumps(point), file=file)


def update(driver: Any, tree: Any) -> None:
    """What the periodic task asks of the driver; Nova has a copy of the tree."""
    driver.get_available_resource(NODE)
    driver.update_provider_tree(copy.deepcopy(tree), NODE)


def held() -> dict[str, int]:
    """What this process holds, once all that can go is gone."""
    while gc.collect():
        pass
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        # Those that the garbage collector knows, and all memory of Python's.
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "resident": pages * os.sysconf("SC_PAGE_SIZE"),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # libvirt's threads would keep it
