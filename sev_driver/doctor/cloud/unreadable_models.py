# SPDX-License-Identifier: Apache-2.0

"""Images and servers whose model another Nova release cannot read.

Nova 27 to 31 keeps any ``hw_mem_encryption_model`` of an image with its servers. From
Nova 32 on, a value that the release does not know ends the start of nova-compute of
each host that has such a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sev_driver.doctor.cloud.compatibility import FindingBuilder, short
from sev_driver.doctor.cloud.facts import Cloud, Image, Server, Unavailable
from sev_driver.doctor.findings import Finding, Verdict
from sev_driver.guest.model_selection import IMAGE_MODEL_KEY
from sev_driver.nova_release import releases_that_cannot_read

READS_SERVERS = "the servers of all projects, of the compute API"


def releases(value: str, nova: int) -> tuple[int, ...]:
    """Return the releases from ``nova`` on that cannot read ``value``."""
    return tuple(n for n in releases_that_cannot_read(value) if n >= nova)


def images(cloud: Cloud) -> Mapping[str, Image]:
    """Return the images that the cloud's or a later release cannot read, by id."""
    if isinstance(cloud.images, Unavailable):
        return {}
    return {
        image.id: image
        for image in cloud.images
        if releases(image.properties.get(IMAGE_MODEL_KEY, ""), cloud.nova)
        and IMAGE_MODEL_KEY in image.properties
    }


def check_image(
    image: Image, cloud: Cloud, subject: FindingBuilder
) -> Iterator[Finding]:
    """Yield what is wrong with the model that an image names."""
    value = image.properties.get(IMAGE_MODEL_KEY)
    if value is not None:
        remedy = (
            f"openstack image unset --property {IMAGE_MODEL_KEY} {image.id}, and ask "
            f"by the flavor"
        )
        yield from _findings(value, "has", cloud, subject, remedy)


def check_servers(cloud: Cloud) -> Iterator[Finding]:
    """Yield what is wrong with servers, by the model that their images name."""
    subject = FindingBuilder("server", "servers", READS_SERVERS)
    if isinstance(cloud.servers, Unavailable):
        yield subject.unread(cloud.servers)
        return
    unreadable = images(cloud)
    named: dict[str, list[str]] = {}
    for server in cloud.servers:
        value = _model(server, unreadable)
        if value is not None and releases(value, cloud.nova):
            named.setdefault(value, []).append(server.name)
    for value, names in sorted(named.items()):
        remedy = "see From one Nova to the next in the manual, before you go there"
        yield from _findings(value, f"{short(names)} have", cloud, subject, remedy)


def _model(server: Server, unreadable: Mapping[str, Image]) -> str | None:
    if server.model is not None or server.image not in unreadable:
        return server.model
    return unreadable[server.image].properties[IMAGE_MODEL_KEY]


def _findings(
    value: str, who: str, cloud: Cloud, subject: FindingBuilder, remedy: str
) -> Iterator[Finding]:
    found = releases(value, cloud.nova)
    if found:
        numbers = " and ".join(map(str, found))
        yield subject.finding(
            "unreadable",
            Verdict.FAIL if cloud.nova in found else Verdict.WARN,
            f"{who} {IMAGE_MODEL_KEY}={value}, which Nova {numbers} cannot read: "
            f"nova-compute does not start there while its host has such a server, "
            f"unless it runs sev_driver",
            remedy,
        )
