# SPDX-License-Identifier: Apache-2.0

"""The demo's steps on a host with SEV, SEV-ES and SEV-SNP: one guest of each."""

import dataclasses
import shlex
import time

from lxml import etree

from devcloud.demo.domain import text_of
from devcloud.demo.owner import Owner
from devcloud.demo.scenario import RESOURCE, Scenario
from devcloud.demo.tables import rows

#: In seconds, for what Nova does periodically.
PATIENCE = 30


@dataclasses.dataclass(frozen=True)
class Generation:
    """What asks for a generation, and how one sees that a guest has it."""

    name: str
    launch_security: str
    policy: int
    loader_type: str
    locked: bool
    pool: str

    @property
    def provider(self) -> str:
        return "_" + self.name.replace("-", "_")


GENERATIONS = (
    Generation("amd-sev", "sev", 0x33, "pflash", True, "sev"),
    Generation("amd-sev-es", "sev", 0x37, "pflash", True, "sev_es_snp"),
    Generation("amd-sev-snp", "sev-snp", 0x30000, "rom", False, "sev_es_snp"),
)


STRANGER = """\
<domain type='kvm'>
  <name>stranger</name>
  <memory unit='MiB'>64</memory>
  <memoryBacking><locked/></memoryBacking>
  <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <launchSecurity type='sev'><policy>0x37</policy></launchSecurity>
</domain>
"""


class Generations(Scenario):
    """What such a host can show: a guest of each, side by side."""

    uuids: dict[str, str]

    def play(self) -> None:
        step = self.stage.step
        with step("The host as the driver sees it"):
            self.see_a_split_host()
        with step("The host as Placement was told of it: each generation's slots"):
            offered = self.see_slots(used=0)
        with step("The operator: a flavor for each generation, and images"):
            self.make_parts()
        owner = Owner(self.cloud, self.stage)
        with step(
            "The owner of a SEV-SNP guest: a launch digest, and an ID block for it"
        ):
            inputs = owner.prepare()
        for generation in GENERATIONS:
            with step(f"The user: a guest with {generation.name}"):
                is_snp = generation.loader_type == "rom"
                guest = self.boot(
                    generation.name,
                    f"m1.{generation.name}",
                    "stateless" if is_snp else "uefi",
                    inputs if is_snp else "",
                )
                self.see_generation(guest, generation)
        with step("The owner: a report of the guest, verified by programs of others"):
            owner.verify("amd-sev-snp")
        with step("Placement: a slot of each is used"):
            self.see_slots(used=1)
        with step("A guest with SEV-ES that Nova does not know: its slot is reserved"):
            self.see_a_stranger()
        with step("The user deletes the guests: all slots are free again"):
            names = " ".join(generation.name for generation in GENERATIONS)
            self.stage.openstack(f"server delete --wait {names}")
            again = self.see_slots(used=0)
            self.stage.check("as many as before", again, offered)

    def see_a_split_host(self) -> None:
        check = self.stage.check
        xml = self.stage.shell("virsh domcapabilities --virttype kvm", quiet=True)
        features = etree.fromstring(xml).find("features")
        check("libvirt tells of features", features is not None)
        assert features is not None  # nosec B101  # for mypy
        for name in ("sev", "launchSecurity"):
            element = features.find(name)
            check(f"libvirt finds {name}", element is not None)
            assert element is not None  # nosec B101  # for mypy
            self.stage.say(text_of(element))
        said = "\n".join(self._driver_said())
        self.stage.say(said)
        for title in ("AMD SEV", "AMD SEV-ES", "AMD SEV-SNP"):
            check(f"the driver finds {title}", f"{title} is supported: " in said)

    def see_slots(self, used: int) -> dict[str, int]:
        """Show each generation's provider; return the slots that it offers."""
        listed = rows(self.stage.openstack("resource provider list -c uuid -c name"))
        uuids = self.uuids = {row["name"]: row["uuid"] for row in listed}
        offered = {}
        for generation in GENERATIONS:
            name = self.host.settings.name + generation.provider
            self.stage.check(f"there is a provider {name}", name in uuids)
            row = self._slots_of(uuids[name], "used", str(used))
            self.stage.check(f"of its slots {used} in use", int(row["used"]), used)
            offered[generation.name] = int(row["total"])
        settings = self.host.settings
        shared = offered["amd-sev-es"] + offered["amd-sev-snp"]
        self.stage.check(
            f"SEV-ES and SEV-SNP together have the {shared} slots that they share",
            shared,
            settings.sev_es_slots,
        )
        self._see_held(used)
        return offered

    def _see_held(self, used: int) -> None:
        held = {"sev": used, "sev_es_snp": 2 * used}
        self.stage.check(
            f"the simulator counts {held['sev']} and {held['sev_es_snp']} too",
            self.host.slots_in_use(),
            held,
        )

    def _slots_of(self, uuid: str, column: str, expected: str) -> dict[str, str]:
        """Show a provider's slots, as soon as they are as expected.

        Nova tells Placement a moment after it has told the user, or periodically.
        """
        deadline = time.monotonic() + PATIENCE
        command = f"resource provider inventory list {uuid}"
        look = f"openstack {command} -c {column}"
        while rows(self.stage.client(look)) != [{column: expected}]:
            if time.monotonic() > deadline:
                break
        columns = "-c resource_class -c total -c reserved -c used"
        (row,) = rows(self.stage.openstack(f"{command} {columns}"))
        self.stage.check(f"it has {RESOURCE}", row["resource_class"], RESOURCE)
        return row

    def make_parts(self) -> None:
        for generation in GENERATIONS:
            flavor = f"m1.{generation.name}"
            self.make_flavor(flavor)
            self.stage.openstack(
                f"flavor set {flavor} --property hw:mem_encryption=true "
                f"--property hw:mem_encryption_model={generation.name}"
            )
        self.make_image("uefi", "--property hw_firmware_type=uefi")
        self.make_image(
            "stateless",
            "--property hw_firmware_type=uefi --property hw_firmware_stateless=true",
        )

    def see_generation(self, instance: str, wanted: Generation) -> None:
        facts, check = self._domain(instance), self.stage.check
        kind = wanted.launch_security
        check(f"launchSecurity is of type {kind}", facts.launch_security, kind)
        check(f"its policy is {wanted.policy:#x}", facts.policy, wanted.policy)
        loader = wanted.loader_type
        check(f"the firmware is OVMF, as {loader}", facts.loader_type, loader)
        words = "is" if wanted.locked else "need not be"
        check(f"the guest's memory {words} locked", facts.locked, wanted.locked)

    def see_a_stranger(self) -> None:
        """Another manager's guest, or an operator's own."""
        file = self.cloud.layout.tmp / "stranger.xml"
        file.write_text(STRANGER)
        self.stage.say(STRANGER)
        self.stage.shell(f"virsh create {shlex.quote(str(file))}")
        self._see_reserved("1")
        self.stage.shell("virsh destroy stranger")
        self._see_reserved("0")

    def _see_reserved(self, slots: str) -> None:
        (uuid,) = (self.uuids[name] for name in self.uuids if name.endswith("_es"))
        found = self._slots_of(uuid, "reserved", slots)["reserved"]
        self.stage.check(f"of its slots {slots} reserved", found, slots)
