# SPDX-License-Identifier: Apache-2.0
"""sev-doctor as a user who may do nothing on the host."""

import json
import shlex
import sys
from pathlib import Path

from doctors_host import REPOSITORY, DoctorsHost, doctors_host

NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs"


def open_for_all(host: DoctorsHost, scratch: Path, *folders: Path) -> None:
    """Let the host's users reach folders that may be below a home of root's own."""
    veils: dict[Path, Path] = {}
    for folder in folders:
        way = reversed(folder.parents)
        closed = next((each for each in way if not each.stat().st_mode & 1), None)
        if closed is None:
            continue
        veil = veils.setdefault(closed, scratch / f"veil{len(veils)}")
        seen = veil / folder.relative_to(closed)
        host.run(f"umask 022; mkdir -p {seen}; mount --bind {folder} {seen}")
    for closed, veil in veils.items():
        host.run(f"mount --rbind {veil} {closed}")


def test_it_says_what_it_may_not_see_and_claims_nothing_of_it(tmp_path: Path) -> None:
    with doctors_host(tmp_path) as host:
        host.run(f"mkdir -m 755 {tmp_path}/etc; mount --bind {tmp_path}/etc /mnt")
        host.run(f"install -m 644 {host.nova_conf} /mnt/nova.conf")
        open_for_all(
            host, tmp_path, Path(sys.base_prefix), Path(sys.prefix), REPOSITORY
        )
        doctor = [sys.executable, "-B", "-m", "sev_driver.cmd.doctor"]
        doctor += ["--nova-conf", "/mnt/nova.conf", "--model", "amd-sev"]
        command = f"cd {REPOSITORY}; {NOBODY} {shlex.join(doctor)}"
        status, text = host.run(f"{command} 2>&-", check=False)
        _, told = host.run(f"{command} --json 2>&-", check=False)
        of_root, _ = host.run(f"{shlex.join(doctor)} 2>&-", check=False)

    findings = json.loads(told)["findings"]
    (failed,) = (each for each in findings if each["verdict"] == "fail")
    assert (failed["id"], status) == ("libvirt.reach", 1)
    assert "Permission denied" in failed["seen"]
    assert failed["remedy"].startswith("run sev-doctor as root")
    assert "AMD SEV: whether a guest would run is not known; see libvirt." in text
    assert not any("does not run here" in each["seen"] for each in findings)
    # What needs no right is judged as ever: the processor, the kernel, nova.conf.
    assert sum(each["verdict"] == "pass" for each in findings) > 20
    assert of_root == 0
