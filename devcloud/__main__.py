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
"""The one-machine cloud's commands: ``python -m devcloud COMMAND``."""

import argparse
import signal
import sys
from typing import NoReturn

from devcloud.cloud import Cloud, CloudError
from devcloud.hosts import kind_here
from devcloud.layout import TREE, Layout
from devcloud.progress import Progress
from devcloud.settings import DRIVER, CloudSettings


def main() -> int:
    args = _parse()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return int(args.command(args))
    except CloudError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing that was started is left.", file=sys.stderr)
        return 130


def up(args: argparse.Namespace) -> int:
    cloud = Cloud(Layout(args.state))
    if running := cloud.running:
        print(f"The cloud is up since {running.since}.")
        _show_how_to_use(cloud)
        return 0
    progress = Progress()
    cloud.start(_settings(args), held=False, on_report=progress.report)
    progress.say("the cloud is up")
    _show_how_to_use(cloud)
    return 0


def down(args: argparse.Namespace) -> int:
    for cloud in _clouds(args):
        where = cloud.layout.state
        print(f"{where}: {'stopped' if cloud.stop() else 'no cloud is running'}")
    return 0


def _clouds(args: argparse.Namespace) -> list[Cloud]:
    """The state folder's own cloud, and that of a demo below it."""
    return [Cloud(Layout(args.state)), Cloud(Layout(args.state / "demo"))]


def _settings(args: argparse.Namespace) -> CloudSettings:
    return CloudSettings(driver=args.driver, host=kind_here())


def _show_how_to_use(cloud: Cloud) -> None:
    print(f"Use it:   source {cloud.layout.openrc}; openstack server list")
    print("End it:   make cloud-down")


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _parse() -> argparse.Namespace:
    from pathlib import Path

    parser = argparse.ArgumentParser(prog="python -m devcloud", description=__doc__)
    parser.add_argument("--state", type=Path, default=TREE / ".cloud")
    commands = parser.add_subparsers(required=True)
    for function in (up, down):
        command = commands.add_parser(function.__name__)
        command.set_defaults(command=function)
        command.add_argument("--driver", default=DRIVER)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
