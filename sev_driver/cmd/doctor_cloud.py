#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""sev-doctor cloud and sev-doctor plan: what a cloud's credentials show."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
from typing import Any

from sev_driver import asked
from sev_driver.cmd import doctor_output
from sev_driver.doctor import candidates, cloud_reader, cloud_report, dry_run
from sev_driver.doctor.cloud_facts import (
    NEWEST_NOVA,
    Cloud,
    Flavor,
    Image,
    Unread,
)
from sev_driver.doctor.cloud_session import CloudSession, Unreachable
from sev_driver.doctor.finding import exit_status
from sev_driver.doctor.pairing import fitting

#: What an image is called that is only given by its properties.
_GIVEN = "the image of --image-property"


class _Misuse(Exception):
    """An argument that is not what it should be, in words."""


def cloud(options: argparse.Namespace) -> int:
    """Run ``sev-doctor cloud``; its exit status."""
    return _guarded(options, _cloud)


def plan(options: argparse.Namespace) -> int:
    """Run ``sev-doctor plan``; its exit status."""
    return _guarded(options, _plan)


def _guarded(options: argparse.Namespace, command: Any) -> int:
    try:
        status: int = command(options)
    except (Unreachable, _Misuse) as error:
        print(f"sev-doctor {options.command}: {error}.", file=sys.stderr)
        return 2
    return status


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _width() -> int:
    return min(shutil.get_terminal_size().columns, cloud_report.WIDTH)


def _release(session: CloudSession, options: argparse.Namespace) -> int:
    if options.nova_release is not None:
        return int(options.nova_release)
    possible = session.releases()
    if len(possible) > 1:
        both = " or ".join(map(str, possible))
        told = f"Nova is release {both}, {possible[-1]} is taken; --nova-release tells"
        print(f"sev-doctor {options.command}: {told}.", file=sys.stderr)
    return possible[-1]


def _read(session: CloudSession, nova: int, catalogue: bool = True) -> Cloud:
    """:param catalogue: whether flavors and images are wanted, too."""
    none: tuple[Any, ...] = ()
    reader = cloud_reader
    return Cloud(
        nova,
        session.part("the list of flavors", lambda: reader.flavors(session))
        if catalogue
        else none,
        session.part("the list of images", lambda: reader.images(session))
        if catalogue
        else none,
        session.part("the list of services", lambda: reader.computes(session)),
        session.part("Placement", lambda: reader.slots(session)),
    )


def _cloud(options: argparse.Namespace) -> int:
    session = CloudSession(options.os_cloud)
    cloud = _read(session, _release(session, options))
    findings = cloud_report.judge(cloud)
    if options.json:
        found = cloud_report.cloud_json(cloud, findings)
        doctor_output.say(json.dumps(found, indent=2) + "\n")
    else:
        text = cloud_report.cloud_text(
            cloud, findings, _width(), _colour(), options.verbose, options.quiet
        )
        doctor_output.say(text)
    return exit_status(findings)


def _plan(options: argparse.Namespace) -> int:
    specs, properties = _keys(options.property), _keys(options.image_property)
    if options.flavor is None:
        if options.image is not None:
            raise _Misuse("--image is looked up together with a --flavor: name both")
        if not specs and not properties:
            raise _Misuse("name a --flavor, or give keys by --property")
        plan = _alone(specs, properties, options.nova_release or NEWEST_NOVA)
    else:
        plan = _in_the_cloud(options, specs, properties)
    if options.json:
        doctor_output.say(json.dumps(cloud_report.plan_json(plan), indent=2) + "\n")
    else:
        text = cloud_report.plan_text(plan, _width(), _colour(), options.verbose)
        doctor_output.say(text)
    return plan.exit_status


def _alone(
    specs: dict[str, str], properties: dict[str, str], nova: int
) -> dry_run.DryRun:
    nobody = Unread("no cloud was asked: that takes a --flavor", refused=True)
    cloud = Cloud(nova, nobody, nobody, nobody, nobody)
    image = asked.Image.of(_GIVEN, properties) if properties else None
    flavor = Flavor("", "of --property", 1, 1024, 10, specs)
    return dry_run.run(flavor, image, cloud, nobody)


def _in_the_cloud(
    options: argparse.Namespace, specs: dict[str, str], properties: dict[str, str]
) -> dry_run.DryRun:
    session = CloudSession(options.os_cloud)
    nova = _release(session, options)
    flavors = session.part("flavors", lambda: cloud_reader.flavors(session))
    flavor = _one("flavor", options.flavor, flavors)
    flavor = dataclasses.replace(flavor, extra_specs={**flavor.extra_specs, **specs})
    image = None
    if options.image is not None:
        images = session.part("images", lambda: cloud_reader.images(session))
        found: Image = _one("image", options.image, images)
        image = dataclasses.replace(
            found, properties={**found.properties, **properties}
        ).asked
    elif properties:
        image = asked.Image.of(_GIVEN, properties)
    cloud = _read(session, nova, catalogue=False)
    return dry_run.run(flavor, image, cloud, _answers(session, flavor, image, nova))


def _answers(
    session: CloudSession, flavor: Flavor, image: asked.Image | None, nova: int
) -> dry_run.Answers | Unread:
    try:
        query = candidates.query(flavor, image or fitting(flavor, nova), nova)
    except ValueError:
        return Unread("there is nothing to ask for")  # the dry run says why
    return session.part(
        "Placement",
        lambda: dry_run.Answers(
            cloud_reader.candidates_for(session, query),
            cloud_reader.with_free_slot(session),
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
    if isinstance(known, Unread):
        raise _Misuse(known.reason)
    named = [item for item in known if name in (item.name, item.id)]
    if not named:
        raise _Misuse(f"there is no {kind} {name} that these credentials may see")
    if len(named) > 1:
        ids = ", ".join(item.id for item in named)
        raise _Misuse(f"{len(named)} {kind}s are named {name}: give one's id ({ids})")
    return named[0]
