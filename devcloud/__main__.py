# SPDX-License-Identifier: Apache-2.0
"""The one-machine cloud's commands: ``python -m devcloud COMMAND``."""

import argparse
import dataclasses
import sys
from pathlib import Path

from devcloud import guest_report, interrupts
from devcloud import status as cloud_status
from devcloud.cloud import Cloud, CloudError
from devcloud.config import ini
from devcloud.hosts import kind_here
from devcloud.layout import TREE, Layout
from devcloud.progress import Progress
from devcloud.settings import DRIVER, CloudSettings, several
from devcloud.simhost.settings import SettingsError


def demo(args: argparse.Namespace) -> None:
    """start a cloud, boot an encrypted guest in it, show it, stop the cloud"""
    # The client takes a second to import, which the other commands can spare.
    from devcloud.demo import command

    command.run(_demo_cloud(args), _settings(args))


def up(args: argparse.Namespace) -> None:
    """start a cloud and leave it running"""
    cloud = _cloud(args)
    if cloud.running:
        print(cloud_status.describe(cloud))
        return
    progress = Progress()
    cloud.start(_settings(args), held=False, on_report=progress.report)
    progress.say("the cloud is up")
    print(cloud_status.describe(cloud))


def down(args: argparse.Namespace) -> None:
    """stop the cloud, and a demo's that was left behind"""
    stopped = [cloud.stop() for cloud in (_cloud(args), _demo_cloud(args))]
    print("The cloud is stopped." if any(stopped) else "No cloud is running.")


def status(args: argparse.Namespace) -> None:
    """tell whether the cloud runs, and where to find what"""
    print(cloud_status.describe(_cloud(args)))
    if (other := _demo_cloud(args)).running:
        print(cloud_status.describe(other))


def power(args: argparse.Namespace) -> None:
    """switch a host of a running cloud with several off or on"""
    # It takes libvirt, which the other commands can spare.
    from devcloud.multinode.control import ControlError
    from devcloud.multinode.power import ComputeHost

    cloud = _cloud(args)
    if not (cloud.running and cloud.settings.multinode):
        raise CloudError("no cloud with several hosts runs: make cloud NODES=2")
    host = ComputeHost(cloud, args.name)
    try:
        host.switch_on() if args.switch == "on" else host.switch_off()
    except ControlError as exc:
        raise CloudError(str(exc)) from exc
    print(f"{args.name} is {args.switch}.")


def report(args: argparse.Namespace) -> None:
    """write the attestation report of a guest with SEV-SNP on a simulated host"""
    print(guest_report.NOTICE)
    for file in guest_report.write(_cloud(args), args.server, args.nonce, args.out):
        print(file)


def main() -> int:
    args = _parse()
    interrupts.install()
    try:
        _run(args)
    except (CloudError, SettingsError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; nothing that was started is left.", file=sys.stderr)
        return 130
    return 0


def _run(args: argparse.Namespace) -> None:
    try:
        args.function(args)
    except Exception:
        # What Ctrl-C has ended may come to us as an error of its own.
        interrupts.check()
        raise


def _cloud(args: argparse.Namespace) -> Cloud:
    return Cloud(Layout(args.state))


def _demo_cloud(args: argparse.Namespace) -> Cloud:
    """A demo has a cloud of its own, beside the one that may be up."""
    return Cloud(Layout(args.state / "demo"))


def _settings(args: argparse.Namespace) -> CloudSettings:
    host = args.host or kind_here()
    # What people try here must not fail at a fault of Nova on Debian 12.
    mend_loader = host == "simulated" and not args.distribution
    settings = CloudSettings(driver=args.driver, host=host, mend_loader=mend_loader)
    for option in ("volumes", "network"):
        if getattr(args, option) and args.nodes < 2:
            raise CloudError(
                f"--{option} needs a cloud with several hosts: see --nodes"
            )
    if args.vhost_user and not args.network:
        raise CloudError("--vhost-user is for networks: see --network")
    node = settings.nodes[0].replace(**_host_changes(args))
    nodes = several(node, args.nodes) if args.nodes > 1 else (node,)
    return dataclasses.replace(
        settings,
        nodes=nodes,
        nova=ini.merged(*args.nova),
        volumes=args.volumes,
        network=args.network,
        vhost_user=args.vhost_user,
    )


def _host_changes(args: argparse.Namespace) -> dict[str, object]:
    """What the options change of a host's settings."""
    changes: dict[str, object] = {"distribution": args.distribution}
    if args.slots is not None:
        changes["max_asid"] = args.slots + args.es_slots
    if args.no_sev:
        changes["sev"] = False
    if args.snp and not args.es_slots:
        raise CloudError("--snp needs slots: see --es-slots")
    if args.es_slots:
        changes |= {"min_asid": args.es_slots + 1, "sev_es": True}
        changes["sev_snp"] = args.snp
    return changes


def _option(text: str) -> dict[str, dict[str, str]]:
    """SECTION.OPTION=VALUE as sections of options."""
    name, equals, value = text.partition("=")
    section, dot, option = name.rpartition(".")
    if not (equals and dot):
        raise argparse.ArgumentTypeError(f"{text!r} is not SECTION.OPTION=VALUE")
    return {section: {option: value}}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devcloud", description=__doc__)
    parser.add_argument(
        "--state",
        type=Path,
        default=TREE / ".cloud",
        help="the folder of the cloud's files, by default %(default)s",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function in (demo, up, down, status, power, report):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(function=function)
        if function in (demo, up):
            _add_settings(command)
        if function is power:
            command.add_argument("name", help="node1, node2 ...")
            command.add_argument("switch", choices=("off", "on"))
        if function is report:
            _add_report(command)
    return parser.parse_args()


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("server", metavar="SERVER", help="its name or id")
    command.add_argument(
        "--nonce",
        type=guest_report.nonce,
        metavar="HEX",
        required=True,
        help="the 64 bytes of REPORT_DATA that the guest's owner chose",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="for report.bin, vcek.pem and cert_chain.pem (default: this one)",
    )


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--driver",
        default=DRIVER,
        help="nova.conf's compute_driver; libvirt.LibvirtDriver is stock Nova's "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--host",
        choices=("simulated", "real"),
        help="default: real if this machine has SEV",
    )
    command.add_argument(
        "--slots", type=int, metavar="N", help="SEV slots of a simulated host"
    )
    command.add_argument(
        "--es-slots",
        type=int,
        metavar="N",
        default=0,
        help="slots that SEV-ES and SEV-SNP share, and SEV-ES on",
    )
    command.add_argument(
        "--snp", action="store_true", help="SEV-SNP on as well; see --distribution"
    )
    command.add_argument(
        "--distribution",
        metavar="CODENAME",
        default="",
        help="whose libvirt and QEMU to run; SEV-SNP takes those of trixie: "
        "make setup-trixie (default: this machine's)",
    )
    command.add_argument(
        "--nova",
        type=_option,
        action="append",
        default=[],
        metavar="SECTION.OPTION=VALUE",
        help="an option to lay over nova.conf; may be given several times",
    )
    command.add_argument(
        "--nodes",
        type=int,
        metavar="N",
        default=1,
        help="compute hosts; for more than one: make setup-multinode",
    )
    command.add_argument(
        "--volumes",
        choices=("", "cinder"),
        default="",
        help="a service for volumes; cinder takes make setup-volumes (default: none)",
    )
    command.add_argument(
        "--network",
        choices=("", "neutron"),
        default="",
        help="a service for networks; neutron takes make setup-network (default: a "
        "stand-in, and guests have no network)",
    )
    command.add_argument(
        "--vhost-user",
        action="store_true",
        help="ports that read and write the memory of guests, by DPDK; with --network "
        "and, on Debian 12, --distribution trixie",
    )
    command.add_argument(
        "--no-sev", action="store_true", help="a simulated host with SEV switched off"
    )


if __name__ == "__main__":
    sys.exit(main())
