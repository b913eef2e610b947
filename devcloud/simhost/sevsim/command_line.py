# SPDX-License-Identifier: Apache-2.0
"""QEMU's command line as libvirt writes it, rewritten for software emulation."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

SEV_OBJECTS = ("sev-guest", "sev-snp-guest")
POLICY_ES = 1 << 2

# -machine properties that only KVM or a SEV object can satisfy.
_DROPPED_MACHINE_PROPERTIES = (
    "confidential-guest-support",
    "memory-encryption",
    "kernel_irqchip",
    "kernel-irqchip",
)


class CommandLine:
    """What was asked of QEMU, and the arguments that the real one gets."""

    def __init__(self, argv: list[str]) -> None:
        self.original = argv
        self.rewritten: list[str] = []
        self.security: dict[str, Any] | None = None
        self.kvm = False
        self.pflash = False
        self.virtiofs = any("vhost-user-fs-pci" in word for word in argv)
        self.paused = "-S" in argv
        self.memory = 0  # bytes
        self.vcpus = 1
        self.cpu = "qemu64"  # the model, without its properties
        self.name = ""
        self.uuid = ""
        # Files, "" where there is none.
        self.firmware = ""
        self.kernel = ""
        self.initrd = ""
        self.kernel_arguments = ""
        # Where libvirt will speak QMP: a path when it asks for capabilities,
        # a listening socket handed over when it starts a guest.
        self.probe_socket: str | None = None
        self.monitor_fd: int | None = None
        self._daemonize = "-daemonize" in argv
        self._rewrite(argv)
        if not self.resettable:
            self.rewritten += ["-action", "reboot=shutdown"]

    @property
    def snp(self) -> bool:
        return self.security is not None and (
            self.security["qom-type"] == "sev-snp-guest"
        )

    @property
    def es(self) -> bool:
        return self.security is not None and (
            not self.snp and bool(self.policy & POLICY_ES)
        )

    @property
    def policy(self) -> int:
        return int(str((self.security or {}).get("policy", 0)), 0)

    @property
    def kernel_hashes(self) -> bool:
        """Whether the hashes of a kernel are to be measured."""
        given = str((self.security or {}).get("kernel-hashes", False)).lower()
        return bool(self.kernel) and given in ("true", "on")

    @property
    def resettable(self) -> bool:
        """Nobody can rewrite encrypted registers: QEMU ends such a guest."""
        return not (self.es or self.snp)

    def listen_at(self, address: str) -> None:
        """Have QEMU listen there instead of at probe_socket."""
        libvirts, qemus = f"unix:{self.probe_socket},", f"unix:{address},"
        self.rewritten = [
            qemus + word[len(libvirts) :] if word.startswith(libvirts) else word
            for word in self.rewritten
        ]

    def replace_firmware(self, path: str) -> None:
        """Have QEMU load another file than it was asked to load by -bios."""
        place = self.rewritten.index("-bios") + 1
        self.rewritten[place] = self.firmware = path

    def _rewrite(self, argv: list[str]) -> None:
        options: dict[str, Callable[[str], str | None]] = {
            "object": self._object,
            "machine": self._machine,
            "m": self._memory,
            "accel": self._accel,
            "cpu": self._cpu,
            "overcommit": self._overcommit,
            "qmp": self._qmp,
            "chardev": self._chardev,
            "smp": self._smp,
            "name": self._name,
            "blockdev": self._blockdev,
            "bios": functools.partial(self._keep, "firmware"),
            "uuid": functools.partial(self._keep, "uuid"),
            "kernel": functools.partial(self._keep, "kernel"),
            "initrd": functools.partial(self._keep, "initrd"),
            "append": functools.partial(self._keep, "kernel_arguments"),
        }
        words = iter(argv)
        for word in words:
            option = options.get(word.lstrip("-")) if word.startswith("-") else None
            if option is None:
                self.rewritten.append(word)
                continue
            value = option(next(words, ""))
            if value is not None:
                self.rewritten += [word, value]

    def _object(self, value: str) -> str | None:
        if not value.startswith("{"):  # libvirt writes JSON since QEMU 6.0
            return value
        properties = json.loads(value)
        if properties.get("qom-type") not in SEV_OBJECTS:
            return value
        self.security = properties
        return None

    def _machine(self, value: str) -> str:
        kept = []
        for word in value.split(","):
            key, _, setting = word.partition("=")
            self.pflash |= key == "pflash0"
            if key == "accel":
                word = "accel=" + self._accel(setting)
            if key not in _DROPPED_MACHINE_PROPERTIES:
                kept.append(word)
        return ",".join(kept)

    def _memory(self, value: str) -> str:
        found = re.match(r"(?:size=)?(\d+)([kmgt]?)", value, re.IGNORECASE)
        if found:
            unit = " kmgt".index(found[2].lower() or "m")
            self.memory = int(found[1]) << 10 * unit
        return value

    def _accel(self, value: str) -> str:
        self.kvm = "kvm" in value  # kvm, kvm:tcg, kvm,dirty-ring-size=…
        return "tcg" if self.kvm else value

    def _keep(self, attribute: str, value: str) -> str:
        setattr(self, attribute, value)
        return value

    def _smp(self, value: str) -> str:
        found = re.match(r"(?:cpus=)?(\d+)", value)
        if found:
            self.vcpus = int(found[1])
        return value

    def _name(self, value: str) -> str:
        found = re.match(r"(?:guest=)?([^,=]+)", value)
        if found:
            self.name = found[1]
        return value

    def _blockdev(self, value: str) -> str:
        """Find the file of pflash0, which -machine names."""
        if value.startswith("{"):
            node = json.loads(value)
            if str(node.get("node-name", "")).startswith("libvirt-pflash0"):
                self.firmware = node.get("filename") or self.firmware
        return value

    def _cpu(self, value: str) -> str:
        self.cpu = value.partition(",")[0]
        return re.sub(r"^host\b", "max", value)

    def _overcommit(self, value: str) -> str:
        # Nothing here needs the memory pinned, and a container may not do it.
        return value.replace("mem-lock=on", "mem-lock=off")

    def _qmp(self, value: str) -> str:
        found = re.match(r"unix:([^,]+),", value)
        if not (found and self._daemonize):
            return value
        self.probe_socket = found[1]
        return value

    def _chardev(self, value: str) -> str:
        found = re.match(r"socket,id=charmonitor,fd=(\d+)\b", value)
        if found:
            self.monitor_fd = int(found[1])
        return value
