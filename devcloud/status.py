# SPDX-License-Identifier: Apache-2.0
"""What ``make cloud-status`` tells of a cloud."""

import shlex
from collections.abc import Iterator

from devcloud.cloud import Cloud, Running


def describe(cloud: Cloud) -> str:
    """Whether it runs; if so, since when, where, with which hosts and logs."""
    state = cloud.layout.state
    running = cloud.running
    if running is None:
        return f"No cloud is running in {state}. Start one with `make cloud`."
    return "\n".join(_lines(cloud, running))


def _lines(cloud: Cloud, running: Running) -> Iterator[str]:
    what = "is running" if running.ready else "is starting"
    yield f"The cloud in {cloud.layout.state} {what} since {running.since}."
    yield f"  process    {running.init.pid} (the first one; its end is the cloud's)"
    if running.owner:
        yield f"  held by    process {running.owner.pid}, a demo or a test"
    if not running.ready:
        return
    for name, url in cloud.ports.urls().items():
        yield f"  {name:<10} {url}"
    settings = cloud.settings
    for host in cloud.hosts:
        name = host.settings.name
        used = ", ".join(f"{n} {pool}" for pool, n in host.slots_in_use().items())
        yield f"  host       {name}, {settings.host} SEV, slots in use: {used}"
        yield f"  libvirt    {host.uri}"
    if settings.host == "simulated":
        yield "             simulated: nothing is encrypted"
    yield f"  driver     {settings.driver}"
    yield f"  logs       {cloud.layout.logs}"
    if cloud.layout.deaths.exists():
        yield "  DIED       " + cloud.layout.deaths.read_text().strip()
    openrc = shlex.quote(str(cloud.layout.openrc))
    yield f"  use it     source {openrc}; openstack server list"
