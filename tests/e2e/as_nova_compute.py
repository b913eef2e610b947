# SPDX-License-Identifier: Apache-2.0
"""Calls the driver's own interface, as nova-compute does, in a cloud's namespaces.

For what Cinder, Neutron or devices of the host would be needed for, and for what
Nova's API refuses before the driver gets to hear of it.
"""

import json
import sys
from typing import Any, NamedTuple

from devcloud.restarts import Restarts
from devcloud.testing import CloudFixture

_BEFORE = """
import json, os, sys
from nova import config, context, objects
config.parse_args(["nova-compute", "--config-file", sys.argv[1]])
objects.register_all()
from nova.virt import driver
from nova.virt.libvirt import config as vconfig
compute = driver.load_compute_driver(None)
compute._host.initialize()
admin = context.get_admin_context()
server = objects.Instance.get_by_uuid(
    admin, sys.argv[2], expected_attrs=["flavor", "system_metadata"])
guest = compute._host.get_guest(server)

def device(cls, **values):
    result = getattr(vconfig, cls)()
    for name, value in values.items():
        setattr(result, name, value)
    return result

def xml(text):
    return type("Device", (), {"to_xml": lambda self: text})()

def call(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]))
    else:
        print(json.dumps(["", ""]))

"""
_AFTER = """
sys.stdout.flush()
os._exit(0)  # libvirt's threads would keep us
"""


class Answer(NamedTuple):
    """The error of one call: its class and its text; empty when there was none."""

    error: str
    text: str


def ask(cloud: CloudFixture, server: Any, calls: str) -> list[Answer]:
    """Run a script that says ``call(function, ...)``; an answer to each.

    It has ``compute``, the driver; ``admin``, a context; ``server``, the instance;
    ``guest``, Nova's handle of its domain; and for devices Nova's own
    ``device(class, ...)`` and ``xml(text)``.
    """
    conf = cloud.cloud.layout.etc("nova") / "nova.conf"
    script = _BEFORE + calls + _AFTER
    output = Restarts(cloud.cloud).run(
        sys.executable, "-c", script, str(conf), server.id
    )
    return [Answer(*json.loads(line)) for line in output.splitlines()]
