# SPDX-License-Identifier: Apache-2.0

"""sev-doctor cloud and sev-doctor plan: checks of a cloud, by its APIs."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import json
import platform
from typing import Any

from sev_driver.cmd import output
from sev_driver.doctor.cloud import (
    allocation_candidates,
    api,
    catalog,
    report,
    unreadable_models,
)
from sev_driver.doctor.cloud import plan as dry_run
from sev_driver.doctor.cloud.api import CloudSession, Unreachable
from sev_driver.doctor.cloud.compatibility import fitting
from sev_driver.doctor.cloud.facts import Cloud, Flavor, Image, Unavailable
from sev_driver.doctor.cloud.owner_inputs import ServerParts
from sev_driver.doctor.findings import exit_status, upgrade_status
from sev_driver.doctor.text import Origin, Style
from sev_driver.guest import request
from sev_driver.model import SEV_SNP
from sev_driver.nova_release import NEWEST_NOVA, releases_that_cannot_read

_PROGRAM = "sev-doctor"
#: What an image is called that is only given by its properties.
_GIVEN = "the image of --image-property"


class _Misuse(Exception):
    """An argument that is not what it should be, in words."""


#: What ``nova-status upgrade check`` ends with if it cannot check.
_UPGRADE_CHECK_ERROR = 255


def cloud(options: argparse.Namespace) -> int:
    """Run ``sev-doctor cloud``; return its exit status."""
    error = _UPGRADE_CHECK_ERROR if options.upgrade_check else 2
    return _guarded(options, _cloud, error)


def plan(options: argparse.Namespace) -> int:
    """Run ``sev-doctor plan``; its exit status."""
    return _guarded(options, _plan)


def _guarded(options: argparse.Namespace, command: Any, on_error: int = 2) -> int:
    try:
        status: int = command(options)
    except (Unreachable, _Misuse) as error:
        output.note(f"{_PROGRAM} {options.command}", f"{error}.")
        return on_error
    return status


def _style(options: argparse.Namespace) -> Style:
    return Style(output.width(), output.shows_colour(), options.verbose)


def _origin() -> Origin:
    now = datetime.datetime.now(datetime.timezone.utc)
    return Origin(output.version(), platform.node(), now.isoformat(timespec="seconds"))


def _release(session: CloudSession, options: argparse.Namespace) -> int:
    if options.nova_release is not None:
        return int(options.nova_release)
    possible = session.releases()
    if len(possible) > 1:
        both = " or ".join(map(str, possible))
        output.note(
            f"{_PROGRAM} {options.command}",
            f"Nova is release {both}; {possible[-1]} is assumed. Set it with "
            "--nova-release.",
        )
    return possible[-1]


def _read(session: CloudSession, nova: int, catalogue: bool = True) -> Cloud:
    """Read the facts of the cloud.

    :param catalogue: true to read flavors and images, too.
    """
    none: tuple[Any, ...] = ()
    return Cloud(
        nova,
        session.part("the list of flavors", lambda: api.flavors(session))
        if catalogue
        else none,
        session.part("the list of images", lambda: api.images(session))
        if catalogue
        else none,
        session.part("the list of services", lambda: api.computes(session)),
        session.part("Placement", lambda: api.slots(session)),
    )


def _with_servers(session: CloudSession, cloud: Cloud) -> Cloud:
    """Return the cloud with its servers, where some may be a danger to an upgrade.

    Nova 32 and later shows of each server the model that it keeps of its image; before,
    the server's image shows it.
    """
    newest = session.releases()[-1]
    shown = newest >= 32 and cloud.nova in releases_that_cannot_read(SEV_SNP.value)
    if not shown and not unreadable_models.images(cloud):
        return cloud
    servers = session.part(
        "the list of servers",
        lambda: api.servers(session, with_properties=newest >= 31),
    )
    return dataclasses.replace(cloud, servers=servers)


def _with_room(session: CloudSession, cloud: Cloud) -> Cloud:
    """Return the cloud with what Placement says of the flavors' guests."""
    answers: dict[tuple[tuple[str, str], ...], bool | Unavailable] = {}
    room = {}
    for flavor, query in catalog.questions(cloud).items():
        same = tuple(sorted(query.parameters().items()))
        if same not in answers:
            ask = functools.partial(api.has_room, session, query)
            answers[same] = session.part("Placement", ask)
        room[flavor] = answers[same]
    return dataclasses.replace(cloud, has_room=room)


def _cloud(options: argparse.Namespace) -> int:
    session = CloudSession(options.os_cloud)
    nova = _release(session, options)
    if not options.quiet:
        output.progress(_PROGRAM, "reading flavors, images, hosts and slots")
    cloud = _with_room(session, _with_servers(session, _read(session, nova)))
    findings = report.check_cloud(cloud)
    if options.json:
        found = report.cloud_json(cloud, findings, _origin())
        text = json.dumps(found, indent=2) + "\n"
    else:
        text = report.cloud_text(cloud, findings, _style(options), quiet=options.quiet)
    output.say(_PROGRAM, text)
    return (upgrade_status if options.upgrade_check else exit_status)(findings)


def _plan(options: argparse.Namespace) -> int:
    specs, properties = _keys(options.property), _keys(options.image_property)
    server = _server(options)
    if options.flavor is None:
        if options.image is not None:
            raise _Misuse("--image is looked up together with a --flavor: name both")
        if not specs and not properties:
            raise _Misuse("name a --flavor, or give keys by --property")
    # The signatures of an ID block are checked with the module cryptography.
    with output.required_modules(_PROGRAM):
        if options.flavor is None:
            release = options.nova_release or NEWEST_NOVA
            plan = _alone(specs, properties, server, release)
        else:
            plan = _in_the_cloud(options, specs, properties, server)
    if options.json:
        text = json.dumps(report.plan_json(plan, _origin()), indent=2) + "\n"
    else:
        text = report.plan_text(plan, _style(options))
    output.say(_PROGRAM, text)
    return plan.exit_status


def _server(options: argparse.Namespace) -> ServerParts:
    """Return what the server shall have besides flavor and image."""
    metadata = _keys(options.server_property)
    if options.user_data is None:
        return ServerParts(metadata)
    try:
        return ServerParts(metadata, output.read_user_data(options.user_data))
    except ValueError as error:
        raise _Misuse(str(error)) from error


def _alone(
    specs: dict[str, str], properties: dict[str, str], server: ServerParts, nova: int
) -> dry_run.DryRun:
    nobody = Unavailable("no cloud was asked: that takes a --flavor", refused=True)
    cloud = Cloud(nova, nobody, nobody, nobody, nobody)
    image = request.ImageProperties.of(_GIVEN, properties) if properties else None
    flavor = Flavor("", "of --property", 1, 1024, 10, specs)
    return dry_run.run(flavor, image, cloud, nobody, server)


def _in_the_cloud(
    options: argparse.Namespace,
    specs: dict[str, str],
    properties: dict[str, str],
    server: ServerParts,
) -> dry_run.DryRun:
    session = CloudSession(options.os_cloud)
    nova = _release(session, options)
    flavors = session.part("flavors", lambda: api.flavors(session))
    flavor = _one("flavor", options.flavor, flavors)
    flavor = dataclasses.replace(flavor, extra_specs={**flavor.extra_specs, **specs})
    image = None
    if options.image is not None:
        images = session.part("images", lambda: api.images(session))
        found: Image = _one("image", options.image, images)
        image = dataclasses.replace(
            found, properties={**found.properties, **properties}
        ).asked
    elif properties:
        image = request.ImageProperties.of(_GIVEN, properties)
    cloud = _read(session, nova, catalogue=False)
    answers = _answers(session, flavor, image, nova)
    return dry_run.run(flavor, image, cloud, answers, server)


def _answers(
    session: CloudSession,
    flavor: Flavor,
    image: request.ImageProperties | None,
    nova: int,
) -> dry_run.PlacementAnswers | Unavailable:
    try:
        query = allocation_candidates.query(
            flavor, image or fitting(flavor, nova), nova
        )
    except ValueError:
        return Unavailable("there is nothing to ask for")  # the dry run says why
    return session.part(
        "Placement",
        lambda: dry_run.PlacementAnswers(
            api.candidates_for(session, query),
            api.with_free_slot(session),
        ),
    )


def _keys(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise _Misuse(f"{text!r} is not KEY=VALUE")
        found[key] = value
    return found


def _one(kind: str, name: str, known: Any) -> Any:
    """Return the one of this name or id."""
    if isinstance(known, Unavailable):
        raise _Misuse(known.reason)
    named = [item for item in known if name in (item.name, item.id)]
    if not named:
        raise _Misuse(f"there is no {kind} {name} that these credentials may see")
    if len(named) > 1:
        ids = ", ".join(item.id for item in named)
        raise _Misuse(f"{len(named)} {kind}s are named {name}: give one's id ({ids})")
    return named[0]
