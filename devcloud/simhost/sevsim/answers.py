# SPDX-License-Identifier: Apache-2.0
"""The QMP commands that the simulated host answers in QEMU's place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import device
from .command_line import CommandLine
from .platform import Platform

Message = dict[str, Any]  # of a QMP command or its answer, as JSON has it

# Opaque to libvirt, and no real key or certificate.
_BASE64_NOTHING = "AAAA"
_MEASUREMENT = "A" * 64  # a SEV measurement has 48 bytes


class Answers:
    """One QEMU's: what was asked of it, and whether it runs by now."""

    def __init__(self, platform: Platform, command: CommandLine) -> None:
        self.platform = platform
        self.command = command
        self.running = not command.paused
        # Until then, the launch of a guest with SEV-SNP can fail.
        self.at_first_cont: Callable[[], None] = lambda: None

    def to(self, message: Message) -> Message | None:
        """The answer, or None when the real QEMU is to be asked.

        May change the message that QEMU then gets.
        """
        execute = message.get("execute")
        arguments = message.get("arguments") or {}
        if execute == "query-sev-capabilities":
            return self._sev_capabilities()
        if self.command.kvm:
            answer = _answer_as_kvm(execute, arguments)
            if answer is not None:
                return answer
        if self.command.security is not None:
            return self._answer_as_encrypted(execute, arguments)
        return None

    def _sev_capabilities(self) -> Message:
        if not self.platform.sev:
            return _error("SEV is not enabled in KVM")
        obstacle = device.obstacle(self.platform)
        if obstacle:
            return _error(f"SEV: {obstacle}")
        return _return(
            {
                "cbitpos": self.platform.cbitpos,
                "reduced-phys-bits": self.platform.reduced_phys_bits,
                "pdh": _BASE64_NOTHING,
                "cert-chain": _BASE64_NOTHING,
                "cpu0-id": _BASE64_NOTHING,
            }
        )

    def _answer_as_encrypted(self, execute: Any, arguments: Message) -> Message | None:
        if execute == "query-sev":
            return self._sev_info()
        if execute == "query-sev-launch-measure":
            return self._measurement()
        if execute == "sev-inject-launch-secret":
            return self._inject_secret()
        if execute == "query-migrate":
            return _return({"blocked-reasons": [self._no_migration]})
        if execute in ("migrate", "snapshot-save", "snapshot-load"):
            return _error(self._no_migration)
        if execute == "human-monitor-command":
            return self._human_command(str(arguments.get("command-line", "")))
        self._note(execute, arguments)
        return None

    def _note(self, execute: Any, arguments: Message) -> None:
        """QEMU does this itself; but see what it means for an encrypted guest."""
        if execute == "cont":
            if not self.running:
                self.at_first_cont()
            self.running = True
        if execute == "set-action" and not self.command.resettable:
            arguments["reboot"] = "shutdown"

    def _measurement(self) -> Message:
        if self.command.snp:
            return _error("SEV launch measurement is not available")
        return _return({"data": _MEASUREMENT})

    def _inject_secret(self) -> Message:
        if self.running or self.command.snp:
            return _error("SEV: Not in correct state. (LSECRET) 3")
        return _return({})

    def _sev_info(self) -> Message:
        info: Message = {
            "enabled": True,
            "api-major": 1,
            "api-minor": 55,
            "build-id": 21,
            "state": "running" if self.running else "launch-secret",
        }
        if self.command.snp:
            info.update({"sev-type": "sev-snp", "snp-policy": self.command.policy})
        else:
            info.update({"sev-type": "sev", "policy": self.command.policy, "handle": 1})
        return _return(info)

    def _human_command(self, line: str) -> Message | None:
        if line.split()[:1] in (["savevm"], ["loadvm"], ["migrate"]):
            return _return(f"Error: {self._no_migration}\r\n")
        return None

    @property
    def _no_migration(self) -> str:
        kind = "SEV-SNP" if self.command.snp else "SEV"
        return f"{kind}: Migration is not implemented"


def _answer_as_kvm(execute: Any, arguments: Message) -> Message | None:
    if execute == "query-kvm":
        return _return({"enabled": True, "present": True})
    if execute == "query-accelerators":  # QEMU 11
        return _return({"enabled": "kvm", "present": ["kvm", "tcg"]})
    if execute == "query-cpu-model-expansion":
        model = arguments.get("model", {})
        if model.get("name") == "host":  # what software emulation calls it
            model["name"] = "max"
    return None


def _return(value: Any) -> Message:
    return {"return": value}


def _error(description: str) -> Message:
    return {"error": {"class": "GenericError", "desc": description}}
