# SPDX-License-Identifier: Apache-2.0
"""The demo's steps: what an operator and a user do, and what comes of it."""

import re
import shlex
import time

from lxml import etree

from devcloud import interrupts, linux_guest
from devcloud.cloud import Cloud
from devcloud.demo.domain import DomainFacts, excerpt, text_of
from devcloud.demo.stage import Stage, Untrue
from devcloud.demo.tables import fields, rows
from devcloud.linux_guest import console

TRAIT = "HW_CPU_X86_AMD_SEV"
RESOURCE = "MEM_ENCRYPTION_CONTEXT"
#: No debugging, no key sharing, no sending to another machine, SEV only.
POLICY = 0x33
#: In seconds, for a Linux under QEMU's emulation on a busy machine.
BOOT_TIMEOUT = 180
INSTANCE = "OS-EXT-SRV-ATTR:instance_name"


class Scenario:
    """One run of the steps, in the order in which they are told."""

    def __init__(self, cloud: Cloud, stage: Stage) -> None:
        self.cloud = cloud
        self.stage = stage
        self.simulated = cloud.settings.host == "simulated"
        (self.host,) = cloud.hosts
        self.slots = 0
        self.provider = ""

    def play(self) -> None:
        step = self.stage.step
        with step("The host as the driver sees it"):
            self.see_the_host()
        with step("The host as Placement was told of it"):
            self.see_placement()
        with step("The operator: a flavor that asks for encryption, a UEFI image"):
            self.make_flavor("m1.sev")
            self.ask_for_encryption("m1.sev")
            self.make_uefi_image()
        with step("The user: an encrypted guest"):
            instance = self.boot("encrypted", "m1.sev", "uefi")
        with step("The guest as libvirt runs it"):
            self.see_it_encrypted(instance)
        with step("Placement: one slot is used"):
            self.see_usage(1)
        with step("The guest as its own Linux sees it"):
            self.see_its_linux("encrypted")
        with step("The user deletes the guest: its slot is free again"):
            self.stage.openstack("server delete --wait encrypted")
            self.see_usage(0)
        with step("An ordinary flavor and image on the same host"):
            self.make_flavor("m1.ordinary")
            self.make_image("bios")
            instance = self.boot("ordinary", "m1.ordinary", "bios")
        with step("The ordinary guest has none of this"):
            self.see_it_plain(instance)
            self.see_usage(0)

    def see_the_host(self) -> None:
        check = self.stage.check
        xml = self.stage.shell("virsh domcapabilities", quiet=True)
        sev = etree.fromstring(xml).find("features/sev")
        check("libvirt knows what SEV is", sev is not None)
        assert sev is not None  # nosec B101  # for mypy
        self.stage.say(text_of(sev))
        check("libvirt finds it on this host", sev.get("supported"), "yes")
        self.slots = int(sev.findtext("maxGuests", "0"))
        if self.simulated:
            slots = self.host.settings.sev_slots
            check(f"it counts the simulator's {slots} slots", self.slots, slots)
        said = self._driver_said()
        self.stage.say("\n".join(said))
        first = re.search(r"is supported: (\d+) slots? \((.*)\)", "\n".join(said))
        check("the driver finds SEV supported", first is not None)
        assert first  # nosec B101  # Nova has made one
        source = first[2]
        check(f"with {self.slots} slots, from {source}", int(first[1]), self.slots)

    def _driver_said(self) -> list[str]:
        """What nova-compute logged of SEV, without time and process."""
        log = shlex.quote(str(self.cloud.layout.log("nova")))
        lines = self.stage.shell(f"grep 'INFO sev_driver.*] AMD SEV' {log}", quiet=True)
        return [line.partition("] ")[2] for line in lines.splitlines()]

    def see_placement(self) -> None:
        openstack, check = self.stage.openstack, self.stage.check
        name = f"{self.host.settings.name}_amd_sev"
        listed = rows(openstack("resource provider list -c uuid -c name"))
        uuids = [row["uuid"] for row in listed if row["name"] == name]
        check(f"the host has a child provider {name}", len(uuids), 1)
        (self.provider,) = uuids
        traits = rows(openstack(f"resource provider trait list {self.provider}"))
        check(f"it has the trait {TRAIT}", TRAIT in [row["name"] for row in traits])
        (inventory,) = rows(
            openstack(
                f"resource provider inventory list {self.provider} "
                "-c resource_class -c total -c reserved -c used"
            )
        )
        expected = {
            "resource_class": RESOURCE,
            "total": str(self.slots),
            "reserved": "0",
            "used": "0",
        }
        check(f"{RESOURCE}: total {self.slots}, used 0", inventory, expected)

    def make_flavor(self, name: str) -> None:
        self.stage.openstack(
            f"flavor create {name} --vcpus 1 --ram 256 --disk 1 -c name -c ram"
        )

    def ask_for_encryption(self, flavor: str) -> None:
        wanted = "hw:mem_encryption"
        self.stage.openstack(f"flavor set {flavor} --property {wanted}=true")
        shown = fields(self.stage.openstack(f"flavor show {flavor} -c properties"))
        asked = f"{wanted}='true'" in shown["properties"]
        self.stage.check(f"the flavor {flavor} asks for memory encryption", asked)

    def make_image(self, name: str, options: str = "") -> None:
        file = shlex.quote(str(self.cloud.layout.images / f"{name}.qcow2"))
        # Empty: the firmware runs, which is all that an ACTIVE guest needs.
        self.stage.shell(f"qemu-img create -q -f qcow2 {file} 16M")
        self._upload(name, file, options)

    def make_uefi_image(self) -> None:
        """One with Linux, where its packages could be had."""
        options = "--property hw_firmware_type=uefi"
        disk = linux_guest.disk()
        if disk is None:
            self.stage.say(f"An empty disk: {linux_guest.reason()}")
            self.make_image("uefi", options)
        else:
            self._upload("uefi", shlex.quote(str(disk)), options)

    def _upload(self, name: str, file: str, options: str) -> None:
        words = f"image create {name} --disk-format qcow2 {options} --file {file}"
        shown = self.stage.openstack(" ".join(words.split()) + " -c name -c status")
        self.stage.check("the image is active", fields(shown)["status"], "active")

    def boot(self, name: str, flavor: str, image: str, more: str = "") -> str:
        """Boot a guest; what libvirt calls it.

        :param more: arguments that are too long to show.
        """
        command = (
            f"server create {name} --flavor {flavor} --image {image} --nic none "
            f"--wait -c name -c status -c {INSTANCE}"
        )
        shown = fields(self.stage.openstack(command, more))
        self.stage.check(f"{name} is ACTIVE", shown["status"], "ACTIVE")
        return shown[INSTANCE]

    def see_it_encrypted(self, instance: str) -> None:
        facts, check = self._domain(instance), self.stage.check
        check("launchSecurity is there, of type sev", facts.launch_security, "sev")
        check("policy 0x33: no debugging, no key sharing", facts.policy, POLICY)
        check("the machine is q35, which nobody had to name", "q35" in facts.machine)
        check("the firmware is OVMF", "OVMF" in (facts.loader or ""))
        check("the guest's memory is locked", facts.locked)
        devices = ", ".join(facts.virtio)
        on = bool(facts.virtio) and all(facts.virtio.values())
        check(f"iommu is on for each virtio device: {devices}", on)

    def see_its_linux(self, name: str) -> None:
        """What the guest's kernel has negotiated with each virtio device."""
        if linux_guest.disk() is None:
            self.stage.say(f"Not shown: {linux_guest.reason()}")
            return
        lines = self._console(name)
        self.stage.say("\n".join(lines))
        kinds: dict[str, bool] = {}
        for device in console.virtio_devices(lines):
            bound = device.driver is not None and device.has_access_platform
            kinds[device.kind] = kinds.get(device.kind, True) and bound
        # Linux's driver of the balloon does without, and QEMU then refuses it.
        working = [kind for kind in kinds if kind != "balloon"]
        self.stage.check(
            f"its kernel has agreed on access_platform for: {', '.join(working)}",
            "block" in working and all(kinds[kind] for kind in working),
        )

    def _console(self, name: str) -> list[str]:
        """What the guest has said, once it has said all; of the rest no word."""
        command = f"console log show {name}"
        self.stage.announce(f"openstack {command} | grep guest:")
        deadline = time.monotonic() + BOOT_TIMEOUT
        while True:
            lines = console.lines(self.stage.client(f"openstack {command}"))
            if console.READY in lines:
                return lines
            if time.monotonic() > deadline:
                raise Untrue(f"its Linux was not up in {BOOT_TIMEOUT} s: {lines}")
            interrupts.check()
            time.sleep(0.5)

    def see_it_plain(self, instance: str) -> None:
        facts, check = self._domain(instance), self.stage.check
        check("no launchSecurity", facts.launch_security, None)
        check("memory not locked", facts.locked, False)
        check("no iommu on its virtio devices", any(facts.virtio.values()), False)
        check(f"machine {facts.machine}, its usual one", "q35" in facts.machine, False)

    def _domain(self, instance: str) -> DomainFacts:
        xml = self.stage.shell(f"virsh dumpxml {instance}", quiet=True)
        self.stage.say(excerpt(xml))
        return DomainFacts.of(xml)

    def see_usage(self, slots: int) -> None:
        shown = self.stage.openstack(f"resource provider usage show {self.provider}")
        usage = {row["resource_class"]: int(row["usage"]) for row in rows(shown)}
        self.stage.check(f"{RESOURCE}: {slots} used", usage, {RESOURCE: slots})
        if self.simulated:
            held = self.host.slots_in_use()["sev"]
            self.stage.check(f"the simulator counts {held} too", held, slots)
