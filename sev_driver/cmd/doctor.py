# SPDX-License-Identifier: Apache-2.0

"""sev-doctor: what keeps encrypted guests from running, and what to do about it."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from typing import Any

from sev_driver.cmd import output

PROGRAM = "sev-doctor"

with output.required_modules(PROGRAM):
    from sev_driver.doctor.host import report
    from sev_driver.doctor.host.archive import (
        PACKED_BYTES,
        Archive,
        MalformedArchive,
        Recording,
        pack,
        unpack,
    )
    from sev_driver.doctor.host.diagnosis import NODES, diagnose
    from sev_driver.doctor.host.evidence import Evidence
    from sev_driver.doctor.host.gather import gather
    from sev_driver.doctor.host.libvirt import DEFAULT_URI, Libvirt, Nobody
    from sev_driver.doctor.text import Origin, Style
    from sev_driver.host.files import LOCAL
    from sev_driver.model import MemoryEncryptionModel
    from sev_driver.nova_release import NEWEST_NOVA, OLDEST_NOVA

_DESCRIPTION = """\
Say whether encrypted guests can run on this host, what prevents them, and what to do.
Nothing is changed. Run it as root: other users cannot read all that is checked.
"""

_EPILOG = """\
Without --model, all models are checked, and the exit status is AMD SEV's.

Exit status: 0 if a guest of the model would run, as far as could be checked (the last
lines, and "not_looked_at" of --json, say what could not be), 1 if it would not, or if
that cannot be found out, 2 if an argument or a file is wrong.
"""

#: What --model takes: as in hw:mem_encryption_model, and shorter.
_MODELS = {
    name: model
    for model in MemoryEncryptionModel
    for name in (model.value, model.value.removeprefix("amd-"))
} | {
    "es": MemoryEncryptionModel.AMD_SEV_ES,
    "snp": MemoryEncryptionModel.AMD_SEV_SNP,
}

#: Options that no command takes, and where argparse puts them.
_OF_THE_HOST = {
    "--model": "model",
    "--save": "save",
    "--from": "archive",
    "--nova-conf": "nova_conf",
    "--guest-memory": "guest_memory",
    "--connect": "connect",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run sev-doctor; return its exit status."""
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
    """Refuse an option that a command would ignore: it reads no host."""
    for name, where in _OF_THE_HOST.items():
        if getattr(options, where) != parser.get_default(where):
            parser.error(f"{name} does not apply to {options.command}")
    if options.quiet and options.command == "plan":
        parser.error("--quiet does not apply to plan")


def _host(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.save and options.archive:
        parser.error("--save and --from exclude each other")
    if options.nova_conf and options.archive:
        parser.error(
            "--nova-conf and --from exclude each other: an archive holds the "
            "nova.conf of its host"
        )
    for path in options.nova_conf:
        if not os.path.exists(path):
            output.refuse(PROGRAM, f"{path} cannot be read: there is no such file")
    evidence, origin = _saved(options) if options.archive else _here(options)
    evidence = dataclasses.replace(evidence, guest_mib=options.guest_memory)
    models = () if options.model else tuple(MemoryEncryptionModel)
    asked = options.model or MemoryEncryptionModel.AMD_SEV
    diagnosis = diagnose(NODES, evidence, asked, models)
    if options.json:
        text = json.dumps(report.as_json(diagnosis, origin), indent=2) + "\n"
    else:
        style = Style(output.width(), output.shows_colour(), options.verbose)
        text = report.as_text(diagnosis, style, quiet=options.quiet)
    output.say(PROGRAM, text)
    return diagnosis.exit_status


def _here(options: argparse.Namespace) -> tuple[Evidence, Origin]:
    """Read this host, and save what was read if --save says so."""
    recording = Recording(LOCAL)
    libvirt = Libvirt(options.connect)
    if not options.quiet:
        output.progress(
            PROGRAM, "reading this host; importing Nova may take half a minute"
        )
    try:
        evidence = gather(recording, libvirt, options.nova_conf)
    finally:
        libvirt.close()
    now = datetime.datetime.now(datetime.timezone.utc)
    origin = Origin(
        output.version(), platform.node(), now.isoformat(timespec="seconds")
    )
    if options.save:
        _save(options.save, recording, origin)
    return evidence, origin


def _save(path: str, recording: Recording, origin: Origin) -> None:
    data = pack(Archive(origin.date, origin.version, recording.answers, origin.host))
    try:
        output.write(path, data)
    except OSError as error:
        output.refuse(PROGRAM, f"{path} cannot be written: {error.strerror}")
    output.note(PROGRAM, f"wrote {path} ({len(data)} bytes)")


def _saved(options: argparse.Namespace) -> tuple[Evidence, Origin]:
    try:
        with open(options.archive, "rb") as file:
            archive = unpack(file.read(PACKED_BYTES + 1))
    except (OSError, MalformedArchive) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        output.refuse(PROGRAM, f"{options.archive} cannot be read: {why}")
    origin = Origin(output.version(), archive.host, archive.date)
    return gather(archive, Nobody()), origin


def _model(text: str) -> MemoryEncryptionModel:
    model = _MODELS.get(text.lower())
    if model is None:
        names = ", ".join(model.value for model in MemoryEncryptionModel)
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {names}")
    return model


def _size(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of MiB, as 2048 is")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = output.new_parser(PROGRAM, _DESCRIPTION, _EPILOG)
    commands = parser.add_subparsers(
        title="commands",
        metavar="COMMAND",
        dest="command",
        help="without one, this host is checked",
    )
    add_cloud(commands)
    add_plan(commands)
    add = parser.add_argument
    add(
        "--model",
        "--generation",
        type=_model,
        metavar="MODEL",
        help="check only amd-sev, amd-sev-es or amd-sev-snp; --generation is the "
        "former name of this option",
    )
    add("--json", action="store_true", help="print JSON")
    add("--verbose", action="store_true", help="also print what each check reads")
    add("--quiet", action="store_true", help="print only failures and warnings")
    add("--save", metavar="FILE", help="save everything that was read to FILE")
    add(
        "--from",
        dest="archive",
        metavar="FILE",
        help="check such a file instead of this host",
    )
    add(
        "--nova-conf",
        metavar="FILE",
        action="append",
        default=[],
        help="a configuration file of nova-compute; repeat it in the order in which "
        "nova-compute reads them",
    )
    add(
        "--guest-memory",
        metavar="MIB",
        type=_size,
        default=2048,
        help="memory of each guest that must fit (%(default)s)",
    )
    add(
        "--connect",
        metavar="URI",
        default=DEFAULT_URI,
        help="libvirt's URI (%(default)s)",
    )
    return parser


_CLOUD = """\
Check the flavors, images, hosts and slots of a cloud with your OpenStack credentials.
Nothing is changed. An administrator's credentials show everything; with a user's, some
checks are skipped.
"""

_PLAN = """\
Say whether an encrypted guest of a flavor and an image would boot, on which hosts, and
with which libvirt domain, and whether its launch inputs are accepted. Nothing is
created or changed. Without --flavor no cloud is asked: only the given keys are checked.
"""

_CLOUD_STATUS = """\
Exit status: 0 if nothing fails, 1 if something does, 2 if an argument is wrong or the
cloud cannot be asked. With --upgrade-check: 0 if everything is fine, 1 if there is a
warning or something cannot be read, 2 if something fails or an argument is wrong, 255
if the cloud cannot be asked.
"""

_PLAN_STATUS = """\
Exit status: 0 if the guest would boot, 1 if it would not or if it does not ask for
AMD SEV, 2 if an argument is wrong or the cloud cannot be asked.
"""


def add_cloud(commands: Any) -> None:
    """Add ``cloud`` to the commands of sev-doctor."""
    parser = _command_parser(
        commands,
        "cloud",
        "check flavors, images, hosts, slots",
        _CLOUD,
        _CLOUD_STATUS,
    )
    parser.add_argument(
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print only failures and warnings",
    )
    parser.add_argument(
        "--upgrade-check",
        action="store_true",
        help='end with the exit status of "nova-status upgrade check"',
    )
    parser.set_defaults(run=_cloud)


def add_plan(commands: Any) -> None:
    """Add ``plan`` to the commands of sev-doctor."""
    parser = _command_parser(
        commands, "plan", "check one guest before it is created", _PLAN, _PLAN_STATUS
    )
    add = parser.add_argument
    add("--flavor", metavar="NAME", help="a flavor's name or id")
    add("--image", metavar="NAME", help="an image's name or id")
    key: Any = {"metavar": "KEY=VALUE", "action": "append", "default": []}
    add("--property", help="a key that the flavor shall have", **key)
    add("--image-property", help="a property that the image shall have", **key)
    add("--server-property", help="a property that the server shall have", **key)
    add(
        "--user-data",
        metavar="FILE",
        help="the server's user data, for the property sev:host_data=user_data",
    )
    parser.set_defaults(run=_plan)


def _cloud(options: argparse.Namespace) -> int:
    status: int = _doctor_cloud().cloud(options)
    return status


def _plan(options: argparse.Namespace) -> int:
    status: int = _doctor_cloud().plan(options)
    return status


def _doctor_cloud() -> Any:
    """Import what only the commands need: a check of this host is faster without it."""
    with output.required_modules(PROGRAM):
        from sev_driver.cmd import doctor_cloud
    return doctor_cloud


def _command_parser(
    commands: Any, name: str, title: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    parser = output.add_command(commands, name, title, description, epilog)
    add = parser.add_argument
    add("--os-cloud", metavar="NAME", help="a cloud of clouds.yaml")
    add(
        "--nova-release",
        type=int,
        choices=range(OLDEST_NOVA, NEWEST_NOVA + 1),
        metavar="N",
        help="check for Nova release N, 27 to 34, such as before an upgrade",
    )
    # The host's own options of these names are taken before the command's.
    add("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    add("--verbose", action="store_true", default=argparse.SUPPRESS, help="print more")
    return parser


if __name__ == "__main__":
    sys.exit(main())
