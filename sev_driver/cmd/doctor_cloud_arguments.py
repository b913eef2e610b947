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

"""The arguments of sev-doctor cloud and of sev-doctor plan."""

from __future__ import annotations

import argparse
from typing import Any

from sev_driver.cmd import doctor_cloud
from sev_driver.doctor.cloud_facts import NEWEST_NOVA

_CLOUD = """\
Look at flavors, images, hosts and slots of a cloud with its credentials. Nothing is
changed. An administrator's show all; with a user's, some checks are skipped.
"""

_PLAN = """\
Say whether an encrypted guest of a flavor and an image would boot, on which hosts,
and with what domain. Nothing is made and nothing is changed. Without --flavor no
cloud is asked: the keys given are judged by themselves.
"""

_CLOUD_STATUS = """\
Exit status: 0 when nothing fails, 1 when something does, 2 when an argument is wrong
or the cloud cannot be asked.
"""

_PLAN_STATUS = """\
Exit status: 0 when it would boot, 1 when not or when nothing asks for encryption, 2
when an argument is wrong or the cloud cannot be asked.
"""


def add_cloud(commands: Any) -> None:
    """Add ``cloud`` to the commands of sev-doctor."""
    parser = _parser(
        commands, "cloud", "flavors, images, hosts and slots", _CLOUD, _CLOUD_STATUS
    )
    parser.add_argument(
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print what is wrong",
    )
    parser.set_defaults(run=doctor_cloud.cloud)


def add_plan(commands: Any) -> None:
    """Add ``plan`` to the commands of sev-doctor."""
    parser = _parser(commands, "plan", "a guest's dry run", _PLAN, _PLAN_STATUS)
    add = parser.add_argument
    add("--flavor", metavar="NAME", help="a flavor's name or id")
    add("--image", metavar="NAME", help="an image's name or id")
    key: Any = {"metavar": "KEY=VALUE", "action": "append", "default": []}
    add("--property", help="a flavor's key, as if it had it", **key)
    add("--image-property", help="an image's property, as if it had it", **key)
    parser.set_defaults(run=doctor_cloud.plan)


def _parser(
    commands: Any, name: str, title: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=title,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--os-cloud", metavar="NAME", help="a cloud of clouds.yaml")
    add(
        "--nova-release",
        type=int,
        choices=range(27, NEWEST_NOVA + 1),
        metavar="N",
        help="Nova's release, 27 to 34, where its API leaves it open",
    )
    # The host's own options of these names are taken before the command's.
    add("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    add("--verbose", action="store_true", default=argparse.SUPPRESS, help="tell more")
    return parser
