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
"""sev-doctor: what keeps encrypted guests from running, and how to mend it."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sev_driver.cmd import doctor_output
from sev_driver.cmd.doctor_cloud_arguments import add_cloud, add_plan
from sev_driver.doctor import render
from sev_driver.doctor.archive import (
    PACKED_BYTES,
    Archive,
    MalformedArchive,
    Recording,
    pack,
    unpack,
)
from sev_driver.doctor.categories import NODES
from sev_driver.doctor.diagnosis import diagnose
from sev_driver.doctor.evidence import Evidence
from sev_driver.doctor.gather import gather
from sev_driver.doctor.libvirt_questions import DEFAULT_URI, Libvirt, Nobody
from sev_driver.files import HERE
from sev_driver.model import MemoryEncryptionModel

_DESCRIPTION = """\
Say whether an encrypted guest would run on this host, what keeps it from running,
and how to mend it. Nothing is changed. As root it sees most.
"""

_EPILOG = """\
Without --generation all generations are shown, and the exit status is AMD SEV's.

Exit status: 0 when a guest of the generation would run, as far as could be looked at
(the last lines say what could not, and "not_looked_at" of --json), 1 when not, or when
that cannot be told, 2 when an argument or a file is not what it should be.
"""

#: Longer lines read badly.
_WIDTH = 100

#: Each adds its own parser, whose default ``run`` takes the options and returns the
#: exit status: ``commands.add_parser("cloud", help=...).set_defaults(run=...)``.
_COMMANDS: tuple[Callable[[Any], None], ...] = (add_cloud, add_plan)

_GENERATIONS = {
    model.value.removeprefix("amd-"): model for model in MemoryEncryptionModel
}

#: Options that no command takes, and where argparse puts them.
_OF_THE_HOST = {
    "--generation": "generation",
    "--save": "save",
    "--from": "archive",
    "--nova-conf": "nova_conf",
    "--guest-memory": "guest_memory",
    "--connect": "connect",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command:
        _refuse_options_of_the_host(parser, options)
        status: int = options.run(options)
        return status
    return _host(parser, options)


def _refuse_options_of_the_host(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> None:
    """A command reads no host: who names one's options expects what is not done."""
    for name, where in _OF_THE_HOST.items():
        if getattr(options, where) != parser.get_default(where):
            parser.error(f"{name} is of a host, and {options.command} looks at none")
    if options.quiet and options.command == "plan":
        parser.error("--quiet is of a host and of cloud; a plan is never silent")


def _host(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.save and options.archive:
        parser.error("--save writes what was read here, --from reads it elsewhere")
    if options.nova_conf and options.archive:
        parser.error("--nova-conf is read here, and --from has what was read elsewhere")
    for path in options.nova_conf:
        if not os.path.exists(path):
            _refuse(parser, f"{path} cannot be read: there is no such file")
    evidence = _saved(parser, options) if options.archive else _here(parser, options)
    asked = _GENERATIONS.get(options.generation, MemoryEncryptionModel.AMD_SEV)
    evidence = dataclasses.replace(evidence, guest_mib=options.guest_memory)
    models = () if options.generation else tuple(MemoryEncryptionModel)
    diagnosis = diagnose(NODES, evidence, asked, models)
    if options.json:
        doctor_output.say(json.dumps(render.as_json(diagnosis), indent=2) + "\n")
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        width = min(shutil.get_terminal_size().columns, _WIDTH)
        text = render.as_text(diagnosis, width, colour, options.verbose, options.quiet)
        doctor_output.say(text)
    return diagnosis.exit_status


def _here(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Evidence:
    """Read this machine, and write down what was read where --save asks for it."""
    recording = Recording(HERE)
    libvirt = Libvirt(options.connect)
    try:
        evidence = gather(recording, libvirt, options.nova_conf)
    finally:
        libvirt.close()
    if options.save:
        now = datetime.datetime.now(datetime.timezone.utc)
        date = now.isoformat(timespec="seconds")
        try:
            archive = Archive(date, _version(), recording.answers)
            doctor_output.write(options.save, pack(archive))
        except OSError as error:
            _refuse(parser, f"{options.save} cannot be written: {error.strerror}")
    return evidence


def _saved(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Evidence:
    try:
        with open(options.archive, "rb") as file:
            archive = unpack(file.read(PACKED_BYTES + 1))
    except (OSError, MalformedArchive) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        _refuse(parser, f"{options.archive} cannot be read: {why}")
    return gather(archive, Nobody())


def _refuse(parser: argparse.ArgumentParser, why: str) -> NoReturn:
    """End in one line: it is no matter of how the command is written."""
    parser.exit(2, f"{parser.prog}: {why}\n")


def _version() -> str:
    try:
        return importlib.metadata.version("sev_driver")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _size(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of MiB such as 2048")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sev-doctor",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", help="none: this host"
    )
    for add_command in _COMMANDS:
        add_command(commands)
    add = parser.add_argument
    add("--generation", choices=_GENERATIONS, help="look at this one alone")
    add("--json", action="store_true", help="print JSON")
    add("--verbose", action="store_true", help="tell also what is read")
    add("--quiet", action="store_true", help="print only what is wrong")
    add("--save", metavar="FILE", help="write all that was read into one archive")
    add(
        "--from",
        dest="archive",
        metavar="FILE",
        help="judge such an archive instead of this machine",
    )
    add(
        "--nova-conf",
        metavar="FILE",
        action="append",
        default=[],
        help="nova-compute's configuration; repeat it in nova-compute's order",
    )
    add(
        "--guest-memory",
        metavar="MIB",
        type=_size,
        default=2048,
        help="of the guests that are to fit (%(default)s)",
    )
    add(
        "--connect",
        metavar="URI",
        default=DEFAULT_URI,
        help="libvirt's (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
