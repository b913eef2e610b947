# SPDX-License-Identifier: Apache-2.0

"""The owner of a guest with SEV-SNP: launch inputs, a report, and who verifies it."""

import hashlib
import secrets
import shlex
import sys
from pathlib import Path

from devcloud.client import CommandFailed
from devcloud.cloud import Cloud
from devcloud.demo import omne_verify
from devcloud.demo.stage import Stage
from devcloud.layout import TREE

#: go-sev-guest's verifier, where ``make setup-go-sev-guest`` has built it.
CHECK = TREE / ".venv/go-sev-guest/check"
CPU = "EPYC"
#: What both verifiers end with if a report is not as expected.
NOT_AS_EXPECTED = 5


class Owner:
    """Keeps own files in the cloud's folder, and believes nobody but the chip."""

    def __init__(self, cloud: Cloud, stage: Stage) -> None:
        self.stage = stage
        self.cloud = cloud
        (self.host,) = cloud.hosts
        self.folder = cloud.layout.tmp / "owner"
        self.user_data = self.folder / "init.yaml"
        self.digest = ""

    def prepare(self) -> str:
        """Return what to add to ``openstack server create``."""
        self.folder.mkdir()
        self.user_data.write_text("#cloud-config\n")
        self.digest = self._expect(vcpus=1)
        key = shlex.quote(str(self.folder / "id.pem"))
        self.stage.shell(
            f"openssl ecparam -name secp384r1 -genkey -noout -out {key}", quiet=True
        )
        user_data = shlex.quote(str(self.user_data))
        properties = self.stage.shell(
            f"{_program('sev-owner')} inputs --digest {self.digest} --id-key {key} "
            f"--user-data {user_data}",
            quiet=True,
        )
        self.stage.say("\n".join(line[:70] + "…" for line in properties.splitlines()))
        return f"--user-data {user_data} " + " ".join(properties.split())

    def verify(self, server: str) -> None:
        """Get a report of the guest, and have it verified."""
        nonce = secrets.token_hex(64)
        state, folder = (
            shlex.quote(str(path)) for path in (self.cloud.layout.state, self.folder)
        )
        self.stage.shell(
            f"{shlex.quote(sys.executable)} -m devcloud --state {state} "
            f"report {server} --nonce {nonce} --out {folder}"
        )
        other = self._expect(vcpus=2)
        for title, command in self._verifiers(nonce).items():
            right = f"{command} -measurement {self.digest}"
            self.stage.check(f"{title} accepts the report", self._status(right), 0)
            wrong = f"{command} -measurement {other}"
            self.stage.check(
                f"{title} refuses it to an owner who ordered two vCPUs",
                self._status(wrong),
                NOT_AS_EXPECTED,
            )

    def _verifiers(self, nonce: str) -> dict[str, str]:
        report, vcek, root = (
            shlex.quote(str(self.folder / name))
            for name in ("report.bin", "vcek.pem", "cert_chain.pem")
        )
        host_data = hashlib.sha256(self.user_data.read_bytes()).hexdigest()
        expected = f"-host_data {host_data} -report_data {nonce}"
        omne = shlex.quote(omne_verify.__file__)
        found = {
            "omne-attest": f"{shlex.quote(sys.executable)} {omne} -in {report} "
            f"-vcek {vcek} -product_key_path {root} {expected}"
        }
        if CHECK.exists():
            found["go-sev-guest"] = (
                f"{shlex.quote(str(CHECK))} -in {report} -product_key_path {root} "
                f"-network=false -guest_policy 0x30000 {expected}"
            )
        else:
            self.stage.say("go-sev-guest is not here: make setup-go-sev-guest")
        return found

    def _expect(self, vcpus: int) -> str:
        """Compute the digest from the owner's copy of the guest firmware."""
        firmware = shlex.quote(str(self.host.userland.share("ovmf/OVMF.fd")))
        return self.stage.shell(
            f"{_program('sev-owner')} expect --firmware {firmware} --vcpus {vcpus} "
            f"--cpu {CPU} -f value"
        ).strip()

    def _status(self, command: str) -> int:
        try:
            self.stage.shell(command)
        except CommandFailed as failed:
            self.stage.say(failed.outcome.output + failed.outcome.errors)
            return failed.outcome.status
        return 0


def _program(name: str) -> str:
    return shlex.quote(str(Path(sys.executable).with_name(name)))
