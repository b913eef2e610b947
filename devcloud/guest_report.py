# SPDX-License-Identifier: Apache-2.0

"""``python -m devcloud report``: stands in for a guest's own /dev/sev-guest."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from devcloud.cloud import Cloud, CloudError

NONCE_BYTES = 64
NOTICE = """\
Note: the secure processor is SIMULATED. This report and its certificates were made
outside of the guest, in place of its /dev/sev-guest. They prove nothing."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def nonce(text: str) -> bytes:
    """Parse a nonce, for argparse."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != NONCE_BYTES:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not a nonce: it has {2 * NONCE_BYTES} hexadecimal digits"
        )
    return data


def write(cloud: Cloud, server: str, nonce: bytes, folder: Path) -> list[Path]:
    """Write a guest's report and its certificates into a folder; return the files.

    :param server: its name or id.
    :raises CloudError: no such guest with SEV-SNP runs.
    """
    # It takes cryptography, which the other commands can spare.
    from devcloud.simhost.psp import guest

    if not cloud.running or cloud.settings.host != "simulated":
        raise CloudError("no cloud with a simulated host runs: make cloud HOST=split")
    uuid = server if _UUID.fullmatch(server) else _find(cloud, server)
    for host in cloud.hosts:
        found = guest.evidence(host.layout, uuid, nonce)
        if found is not None:
            break
    else:
        raise CloudError(f"server {server} is not running with AMD SEV-SNP")
    files = {
        "report.bin": found.report,
        "vcek.pem": found.vcek,
        "cert_chain.pem": found.cert_chain,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def _find(cloud: Cloud, name: str) -> str:
    import openstack

    config = openstack.config.OpenStackConfig(
        config_files=[str(cloud.layout.clouds_yaml)], load_envvars=False
    )
    compute = openstack.connection.Connection(config=config.get_one("devcloud")).compute
    found = compute.find_server(name, all_projects=True)
    if found is None:
        raise CloudError(f"there is no server {name}")
    return str(found.id)
