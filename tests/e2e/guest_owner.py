# SPDX-License-Identifier: Apache-2.0

"""The owner of a guest with SEV-SNP: a member of a project, with files of its own."""

import base64
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openstack
import ovmf_file
import owners_keys
import pytest
from lxml import etree

from devcloud import guest_report, idle_disk
from devcloud.demo import omne_verify
from devcloud.demo.owner import CHECK
from devcloud.simhost import firmware
from devcloud.simhost.userland import userland
from devcloud.testing import CloudFixture

USER_DATA = b"#cloud-config\n"
NONCE = bytes(range(64))
#: What the guest asks for, as its owner knows it.
VCPUS, CPU, CMDLINE = 1, "EPYC", "root=/dev/vda quiet"
#: As much of a kernel's header as QEMU looks at before it starts one.
KERNEL = bytearray(64 * 1024)
KERNEL[0x1F1] = 1  # sectors of its set-up code
KERNEL[0x202:0x208] = b"HdrS\0\2"


def debians_firmware() -> bytes:
    """The firmware of Debian 13, as the host has it."""
    return userland("trixie", Path()).share("ovmf/OVMF.fd").read_bytes()


def measuring(data: bytes) -> bytes:
    """The same firmware with a place for a kernel's hashes: that of the SVSM's CAA."""
    caa = b"".join(n.to_bytes(4, "little") for n in (0x80F000, 0x1000, 4))
    assert data.count(caa) == 1, "Debian's OVMF is another one"
    data = data.replace(caa, caa[:8] + (0x10).to_bytes(4, "little"))
    end = data.rindex(ovmf_file.HASH_TABLE.bytes_le) - 2
    place = b"".join(n.to_bytes(4, "little") for n in ovmf_file.HASHES_AT)
    return data[: end - 8] + place + data[end:]


class Owner:
    """Everything that the owner has.

    :param folder: for its files.
    """

    connection: openstack.connection.Connection
    cloud: CloudFixture

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # No test looks into a guest.
        data = firmware.halting(measuring(debians_firmware()))
        self.files: dict[str, Path] = {}
        for name, content in {
            "firmware": data,
            "other-firmware": b"\1" + data[1:],
            "kernel": bytes(KERNEL),
            "other-kernel": bytes(KERNEL) + b"\1",
            "user-data": USER_DATA,
        }.items():
            self.files[name] = folder / name
            self.files[name].write_bytes(content)
        self.key = owners_keys.write(folder / "id.pem", owners_keys.ID_KEY)

    def join(self, cloud: CloudFixture, flavor: str) -> None:
        """Become a member of a project in the cloud.

        :param flavor: that of the owner's servers.
        """
        self.cloud, self.flavor, self.connection = cloud, flavor, _member(cloud)

    def expect(self, **other: Any) -> str:
        """The digest that the owner computes; ``other`` replaces arguments."""
        return _sev_owner("expect", *self._arguments(other), "-f", "value").strip()

    def _arguments(self, other: dict[str, Any]) -> list[str]:
        arguments = {
            "firmware": self.files["firmware"],
            "vcpus": VCPUS,
            "cpu": CPU,
            "kernel": self.files["kernel"],
            "cmdline": CMDLINE,
        } | other
        return [word for k, v in arguments.items() for word in (f"--{k}", str(v))]

    def inputs(self, digest: str, *, signed: bool = True) -> dict[str, str]:
        """The properties for the server."""
        words = ["--user-data", str(self.files["user-data"]), "--policy", "0x30000"]
        if signed:
            words += ["--digest", digest, "--id-key", self.key]
        lines = _sev_owner("inputs", *words).splitlines()
        pairs = (line.removeprefix("--property ").partition("=") for line in lines)
        return {key: value for key, _, value in pairs}

    def make_image(self) -> str:
        """The owner's own image, with a kernel."""
        image = self.connection.image
        kernel = image.create_image(
            "owners-kernel",
            data=self.files["kernel"].read_bytes(),
            disk_format="aki",
            container_format="aki",
        )
        disk = self.folder / "disk.qcow2"
        idle_disk.write(disk)
        made = image.create_image(
            "owners-disk",
            filename=str(disk),
            disk_format="qcow2",
            container_format="bare",
            kernel_id=kernel.id,
            os_command_line=CMDLINE,
            hw_firmware_type="uefi",
            hw_firmware_stateless="true",
        )
        return str(made.id)

    def boot(self, name: str, image: str, metadata: Mapping[str, str]) -> Any:
        """Create a server as the owner; it is ACTIVE or ERROR then."""
        server = self.connection.compute.create_server(
            name=name,
            flavor_id=self.flavor,
            image_id=image,
            networks="none",
            metadata=metadata,
            user_data=base64.b64encode(USER_DATA).decode(),
        )
        return self.cloud.built(server)

    def show(self, server: Any, **other: Any) -> tuple[int, dict[str, str]]:
        """What ``sev-owner show`` ends with, and its verdict on each fact.

        :param other: replaces arguments.
        """
        words = ["show", server.id, *self._arguments(other), "-f", "value"]
        done = subprocess.run(
            [_program("sev-owner"), *words],
            capture_output=True,
            text=True,
            env=self._environment(),
        )
        assert not done.stderr, done.stderr
        lines = (line.partition(" ") for line in done.stdout.splitlines())
        return done.returncode, {fact: verdict for fact, _, verdict in lines}

    def plan(self, metadata: Mapping[str, str], *more: str) -> dict[str, Any]:
        """What ``sev-doctor plan`` says of the owner's server."""
        words = ["plan", "--flavor", "snp", "--image", "owners-disk", *more]
        words += ["--user-data", str(self.files["user-data"])]
        for key, value in metadata.items():
            words += ["--server-property", f"{key}={value}"]
        return self.doctor(*words)

    def doctor(self, *words: str) -> dict[str, Any]:
        """The JSON of ``sev-doctor``, run by the operator."""
        done = subprocess.run(
            [sys.executable, "-m", "sev_driver.cmd.doctor", *words, "--json"],
            capture_output=True,
            text=True,
            env=self._environment(admin=True),
        )
        found: dict[str, Any] = json.loads(done.stdout)
        well = found["would_boot" if "would_boot" in found else "healthy"]
        assert done.returncode == (0 if well else 1)
        return found

    def _environment(self, *, admin: bool = False) -> dict[str, str]:
        """The environment of a client: of the owner, or of the operator."""
        clouds = json.loads(self.cloud.cloud.layout.clouds_yaml.read_text())
        auth = clouds["clouds"]["devcloud"]["auth"]
        if not admin:
            auth.update(username="owner", project_name="owners")
        file = self.folder / ("admin.yaml" if admin else "clouds.yaml")
        file.write_text(json.dumps(clouds))
        kept = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
        return kept | {"OS_CLIENT_CONFIG_FILE": str(file), "OS_CLOUD": "devcloud"}

    def report(self, server: Any) -> Path:
        """The folder with the guest's report and its certificates."""
        folder = self.folder / server.id
        guest_report.write(self.cloud.cloud, server.id, NONCE, folder)
        return folder


#: Where a report has them (SEV-SNP firmware ABI, ATTESTATION_REPORT).
MEASUREMENT, HOST_DATA, ID_KEY_DIGEST = (
    slice(0x90, 0xC0),
    slice(0xC0, 0xE0),
    slice(0xE0, 0x110),
)


def see_inputs(
    owner: Owner, server: Any, xml: str, digest: str, inputs: Mapping[str, str]
) -> None:
    """See launch inputs of :meth:`Owner.inputs` in a guest's domain and report.

    :param xml: the domain that runs.
    :param digest: the launch digest that the ID block was signed for.
    """
    security = etree.fromstring(xml).find("launchSecurity")
    assert security is not None and security.get("kernelHashes") == "yes"
    found = {child.tag: child.text for child in security}
    pieces = sorted(key for key in inputs if "id_auth_" in key)
    users = hashlib.sha256(USER_DATA).digest()
    assert found["policy"] == "0x00030000"
    assert found["idBlock"] == inputs["sev:id_block"]
    assert found["idAuth"] == owners_keys.unpacked("".join(inputs[k] for k in pieces))
    assert found["hostData"] == base64.b64encode(users).decode()
    shown = owner.connection.compute.get_server(server)
    assert shown.metadata["sev:launched_digest"] == digest

    report = (owner.report(server) / "report.bin").read_bytes()
    assert report[MEASUREMENT].hex() == digest
    assert report[HOST_DATA] == users
    assert report[ID_KEY_DIGEST].hex() == owners_keys.digest(owners_keys.ID_KEY)


@dataclasses.dataclass(frozen=True)
class Expectation:
    """What the owner expects of a report, and the certificates that it trusts."""

    measurement: str
    host_data: str
    report_data: str
    root: Path
    id_key: str

    def by_go_sev_guest(self, folder: Path) -> int:
        """Return the exit status of go-sev-guest's ``check``."""
        if not CHECK.exists():
            pytest.skip("no go-sev-guest here: make setup-go-sev-guest")
        return _status(
            *(CHECK, "-in", folder / "report.bin", "-product_key_path", self.root),
            *("-network=false", "-guest_policy", "0x30000", "-vmpl", "0"),
            *("-measurement", self.measurement, "-host_data", self.host_data),
            *("-report_data", self.report_data, "-require_idblock=true"),
            *("-trusted_id_key_hashes", self.id_key),
        )

    def by_omne_attest(self, folder: Path) -> int:
        """Return the exit status of a program with the library omne-attest.

        It does not look at ID blocks.
        """
        pytest.importorskip("omne_attest")
        return _status(
            *(sys.executable, omne_verify.__file__, "-product_key_path", self.root),
            *("-in", folder / "report.bin", "-vcek", folder / "vcek.pem"),
            *("-measurement", self.measurement, "-host_data", self.host_data),
            *("-report_data", self.report_data),
        )


def _member(cloud: CloudFixture) -> openstack.connection.Connection:
    """Make a project and a user that is a member of it, and log in as that user."""
    identity = cloud.connection.identity
    project = identity.create_project(name="owners", domain_id="default")
    password = cloud.settings.password
    user = identity.create_user(name="owner", password=password, domain_id="default")
    identity.assign_project_role_to_user(project, user, identity.find_role("member"))
    return cloud.connection.connect_as(
        username="owner", password=password, project_name="owners"
    )


def _sev_owner(*words: str) -> str:
    done = subprocess.run(
        [_program("sev-owner"), *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    return done.stdout


def _program(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def _status(*words: Any) -> int:
    return subprocess.run(list(map(str, words)), capture_output=True).returncode
