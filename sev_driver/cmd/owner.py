# SPDX-License-Identifier: Apache-2.0

"""sev-owner: what the owner of a SEV-SNP guest computes on a machine of their own."""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from sev_driver.cmd import output

PROGRAM = "sev-owner"
REQUIREMENTS = "sev-snp-measure cryptography openstacksdk"

with output.required_modules(PROGRAM):
    from sev_driver import measurement
    from sev_driver.exceptions import DetectionError, printable
    from sev_driver.guest import launched
    from sev_driver.guest.launched import Comparison, Verdict
    from sev_driver.guest.policy import DEFAULT_SNP_POLICY, SnpPolicy
    from sev_driver.host.guest_cpu import GuestCpu, signature_of_model
    from sev_driver.measurement import LaunchFacts

_DESCRIPTION = """\
Compute the launch digest of a SEV-SNP guest from files of your own, write the
properties for its server, and compare it with what its host says of the launch.
Run it on a machine that you trust. Only an attestation report of the guest itself,
verified by AMD's certificates, proves anything.
"""

_EPILOG = """\
Exit status: 0 if there is a result, 1 if "show" finds a fact that differs or that the
server lacks, 2 if an argument or a file is wrong or the cloud does not answer.
"""

#: Nova's limit for a value of metadata.
_PIECE = launched.VALUE_CHARACTERS

_DIGEST = re.compile(r"[0-9a-f]{96}", re.ASCII | re.IGNORECASE)
_HEX_32 = re.compile(r"[0-9a-f]{64}", re.ASCII | re.IGNORECASE)
_FORMATS = ("table", "value", "json")


class _Misuse(Exception):
    """An argument or a file that is wrong, in words."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run sev-owner; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except (DetectionError, _Misuse) as error:
        _refuse(options.command, str(error))
    return status


def _refuse(command: str, why: str) -> NoReturn:
    if why == measurement.NOT_INSTALLED:
        why += f" for {sys.executable}: {sys.executable} -m pip install {REQUIREMENTS}"
    output.refuse(f"{PROGRAM} {command}", printable(why, 1000))


# expect


def _expect(options: argparse.Namespace) -> int:
    facts = _own_facts(options)
    if options.format == "value":
        output.say(PROGRAM, facts["digest"] + "\n")
    else:
        _print(options.format, facts)
    return 0


def _own_facts(options: argparse.Namespace) -> dict[str, str]:
    """Return the facts of a launch from the owner's arguments and files."""
    if options.kernel is None and (options.initrd or options.cmdline is not None):
        raise _Misuse("--initrd and --cmdline are measured with a --kernel only")
    cpu: GuestCpu = options.cpu
    cmdline = options.cmdline or ""
    launch = LaunchFacts(
        options.firmware,
        options.vcpus,
        cpu.signature,
        options.features,
        options.kernel,
        options.initrd,
        cmdline,
    )
    none = launched.NONE
    return {
        "digest": measurement.launch_digest(launch),
        "firmware": measurement.file_digest(options.firmware),
        "vcpus": str(options.vcpus),
        "cpu": str(cpu),
        "features": f"{options.features:#x}",
        "kernel": measurement.file_digest(options.kernel) if options.kernel else none,
        "initrd": measurement.file_digest(options.initrd) if options.initrd else none,
        "cmdline": measurement.cmdline_digest(cmdline) if options.kernel else none,
    }


# inputs


def _inputs(options: argparse.Namespace) -> int:
    properties, report = _properties(options)
    if not properties:
        raise _Misuse("name --host-data, --user-data, --policy or --digest")
    if options.image:
        properties = {k.replace(":", "_", 1): v for k, v in properties.items()}
    if options.format == "json":
        _print("json", {"properties": properties, "report": report})
    elif options.format == "table":
        _print("table", properties | {f"report: {k}": v for k, v in report.items()})
    else:
        words = (f"--property {key}={value}\n" for key, value in properties.items())
        output.say(PROGRAM, "".join(words))
        for key, value in report.items():
            output.note(f"{PROGRAM} inputs", f"the report must have {key} {value}")
    return 0


def _properties(options: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """Return the server's properties, and what the guest's report must then have."""
    properties, report = {}, {}
    if options.user_data is not None:
        properties["sev:host_data"] = "user_data"
        report["host_data"] = _user_data_digest(options.user_data)
    elif options.host_data is not None:
        properties["sev:host_data"] = report["host_data"] = options.host_data
    policy: SnpPolicy | None = options.policy
    if options.digest is not None:
        if options.id_key is None:
            raise _Misuse("--digest needs an --id-key, which signs the ID block")
        # So that the guest does not depend on the policy in the host's nova.conf.
        policy = DEFAULT_SNP_POLICY if policy is None else policy
    elif options.id_key or options.author_key or options.guest_svn:
        raise _Misuse("an ID block needs the --digest that it is for")
    if policy is not None:
        properties["sev:policy"] = report["policy"] = policy.format()
    if options.digest is not None and policy is not None:
        signed = measurement.sign_id_block(
            options.digest,
            int(policy),
            options.id_key,
            options.author_key,
            options.guest_svn,
        )
        properties["sev:id_block"] = base64.b64encode(signed.block).decode()
        for number, piece in enumerate(_pieces(signed.auth)):
            properties[f"sev:id_auth_{number}"] = piece
        report["measurement"] = options.digest
        report["id_key_digest"] = signed.id_key_digest
        if signed.author_key_digest:
            report["author_key_digest"] = signed.author_key_digest
    return properties, report


def _pieces(auth: bytes) -> list[str]:
    """Return the ID authentication information in pieces that fit into metadata.

    Only some 400 of its 4096 bytes are not zero, so it is compressed.
    """
    text = base64.b64encode(zlib.compress(auth, 9)).decode()
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def _user_data_digest(path: str) -> str:
    try:
        return hashlib.sha256(output.read_user_data(path)).hexdigest()
    except ValueError as error:
        raise _Misuse(str(error)) from error


# show


def _show(options: argparse.Namespace) -> int:
    own: dict[str, str] = {}
    given = (options.firmware, options.vcpus, options.cpu)
    if all(value is not None for value in given):
        own = _own_facts(options)
    elif any(value is not None for value in given) or options.kernel:
        raise _Misuse("a digest needs all of --firmware, --vcpus and --cpu")
    if options.policy is not None:
        own["policy"] = options.policy.format()
    metadata = _metadata(options.server, options.os_cloud)
    comparisons = launched.compare(metadata, own)
    if options.format == "json":
        _print("json", {each.fact: _as_json(each) for each in comparisons})
    elif options.format == "value":
        lines = (f"{each.fact} {each.verdict.value}\n" for each in comparisons)
        output.say(PROGRAM, "".join(lines))
    else:
        output.say(PROGRAM, _comparison_text(comparisons))
    bad = (Verdict.DIFFERS, Verdict.NOT_SAID)
    return 1 if any(each.verdict in bad for each in comparisons) else 0


def _metadata(server: str, cloud: str | None) -> Mapping[str, str]:
    """Return the metadata of a server, by its name or id."""
    with output.required_modules(PROGRAM):
        from sev_driver.doctor.cloud import api
    try:
        return api.CloudSession(cloud, PROGRAM).server_metadata(server)
    except api.Unreachable as error:
        raise _Misuse(str(error)) from error


def _as_json(comparison: Comparison) -> dict[str, str | None]:
    return {
        "host": comparison.host,
        "own": comparison.own,
        "verdict": comparison.verdict.value,
    }


def _comparison_text(comparisons: Sequence[Comparison]) -> str:
    wide = max(len(verdict.value) for verdict in Verdict)
    text = ""
    for each in comparisons:
        host = "" if each.host is None else printable(each.host, _PIECE)
        text += f"{each.fact:<13}  {each.verdict.value:<{wide}}  {host}".rstrip() + "\n"
        if each.verdict is Verdict.DIFFERS:
            text += f"{'':13}  {'your files give':<{wide}}  {each.own}\n"
    return (
        text
        + "\nNone of this is proof: the host can write anything here. Verify the "
        + "guest's\nattestation report, with a nonce of your own and AMD's "
        + "certificates.\n"
    )


# Arguments and output


def _print(format_: str, values: Mapping[str, Any]) -> None:
    if format_ == "json":
        output.say(PROGRAM, json.dumps(values, indent=2) + "\n")
        return
    wide = max(map(len, values), default=0)
    lines = (f"{key:<{wide}}  {value}\n" for key, value in values.items())
    output.say(PROGRAM, "".join(lines))


def _typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Have argparse show the words of a ValueError or DetectionError of ``parse``."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except (ValueError, DetectionError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


@_typed
def _cpu(text: str) -> GuestCpu:
    if not text.startswith("0x"):
        try:
            return GuestCpu(text, signature_of_model(text))
        except DetectionError as error:
            raise ValueError(f"{error}: give the signature, such as 0xa00f11") from None
    return GuestCpu("signature", _number(text, 1, 0xFFFF_FFFF))


@_typed
def _vcpus(text: str) -> int:
    return _number(text, 1, 4096)


@_typed
def _features(text: str) -> int:
    return _number(text, 0, (1 << 64) - 1)


@_typed
def _svn(text: str) -> int:
    return _number(text, 0, 0xFFFF_FFFF)


def _number(text: str, least: int, most: int) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise ValueError(f"{text[:40]!r} is not a number from {least} to {most}")
    return number


@_typed
def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ValueError(
            f"{text[:100]!r} is not a launch digest, which has 96 hexadecimal digits"
        )
    return text.lower()


@_typed
def _host_data(text: str) -> str:
    if _HEX_32.fullmatch(text):
        return text.lower()
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != 32:
        raise ValueError(
            f"{text[:100]!r} is neither 64 hexadecimal digits nor 32 bytes in base64"
        )
    return data.hex()


@_typed
def _policy(text: str) -> SnpPolicy:
    return SnpPolicy.parse(text)


def _parser() -> argparse.ArgumentParser:
    parser = output.new_parser(PROGRAM, _DESCRIPTION, _EPILOG)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    _add_expect(commands)
    _add_inputs(commands)
    _add_show(commands)
    return parser


def _add_expect(commands: Any) -> None:
    parser = _command(
        commands,
        "expect",
        "the launch digest, from files of your own",
        "Compute the launch digest that the guest's attestation report must have, with "
        "the\nlibrary sev-snp-measure.",
        _expect,
    )
    _add_launch(parser, required=True)


def _add_inputs(commands: Any) -> None:
    parser = _command(
        commands,
        "inputs",
        "the properties for openstack server create",
        "Write launch inputs as properties for openstack server create, and say what "
        "the\nguest's attestation report must then have.",
        _inputs,
        default="value",
    )
    add = parser.add_argument
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--user-data",
        metavar="FILE",
        help="bind the guest to these user data: the report has their SHA-256",
    )
    data.add_argument(
        "--host-data",
        metavar="VALUE",
        type=_host_data,
        help="32 bytes for the report, as hexadecimal digits or base64",
    )
    _add_policy(parser)
    add(
        "--digest",
        metavar="HEX",
        type=_digest,
        help='write an ID block for this launch digest, as "expect" prints it',
    )
    add("--id-key", metavar="FILE", help="the private key that signs the ID block")
    add("--author-key", metavar="FILE", help="the private key that signs the ID key")
    add(
        "--guest-svn",
        metavar="N",
        type=_svn,
        default=0,
        help="the guest's security version number (%(default)s)",
    )
    add("--image", action="store_true", help="write properties for an image instead")


_SHOW = """\
Compare what the host says of a server's launch with your own files. Each fact is
"yours" (your files give the same), "the host's word" (you gave nothing to compare),
"differs", "unknown to the host" or "not said".
"""


def _add_show(commands: Any) -> None:
    parser = _command(
        commands,
        "show",
        "what a server's host says, compared with your files",
        _SHOW,
        _show,
    )
    parser.add_argument("server", metavar="SERVER", help="a server's name or id")
    _add_launch(parser, required=False)
    _add_policy(parser)
    parser.add_argument("--os-cloud", metavar="NAME", help="a cloud of clouds.yaml")


def _add_launch(parser: argparse.ArgumentParser, *, required: bool) -> None:
    add = parser.add_argument
    add("--firmware", metavar="FILE", required=required, help="the guest firmware")
    add(
        "--vcpus",
        metavar="N",
        type=_vcpus,
        required=required,
        help="the number of vCPUs of the flavor",
    )
    add(
        "--cpu",
        metavar="NAME",
        type=_cpu,
        required=required,
        help="the CPU model, such as EPYC-Milan, or its signature, such as 0xa00f11",
    )
    add(
        "--features",
        metavar="BITS",
        type=_features,
        default=measurement.SNP_ACTIVE,
        help="sev_features of the vCPUs (0x1)",
    )
    add("--kernel", metavar="FILE", help="the kernel of the image, if it has one")
    add("--initrd", metavar="FILE", help="the initial RAM disk of the image")
    add("--cmdline", metavar="TEXT", help="the kernel's command line")


def _add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy",
        metavar="POLICY",
        type=_policy,
        help="the guest policy, a number or names of bits as in [sev] snp_policy",
    )


def _command(
    commands: Any,
    name: str,
    title: str,
    description: str,
    run: Callable[[argparse.Namespace], int],
    default: str = "table",
) -> argparse.ArgumentParser:
    parser = output.add_command(commands, name, title, description)
    parser.add_argument(
        "-f",
        "--format",
        choices=_FORMATS,
        default=default,
        help="the form of the output (%(default)s)",
    )
    parser.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
