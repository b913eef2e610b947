# SPDX-License-Identifier: Apache-2.0
"""What a simulated host is: its hardware, and how its kernel was told to use it."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

_CODENAME = re.compile("[a-z]*")
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?", re.IGNORECASE)


class SettingsError(ValueError):
    """A setting that no host could have; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class HostSettings:
    """One host. ASIDs as in CPUID 0x8000001F, where every guest needs one.

    Plain SEV has the ASIDs min_asid..max_asid; SEV-ES and SEV-SNP share
    1..min_asid-1. So min_asid=1 means no ES and no SNP, and
    min_asid=max_asid+1 means no plain SEV.
    """

    name: str = "node1"
    min_asid: int = 1
    max_asid: int = 15
    cbitpos: int = 51
    reduced_phys_bits: int = 1
    # Whether the firmware set-up has memory encryption on (SMEE). The kernel shows
    # no flag of it otherwise, and ccp makes no /dev/sev. A live host keeps it, and psp.
    smee: bool = True
    # Whether the secure processor answers. Without it there is no /dev/sev, while
    # the kernel's parameters may still say Y.
    psp: bool = True
    # The parameters kvm_amd was loaded with; kernel_parameters is what they became.
    sev: bool = True
    sev_es: bool = False
    sev_snp: bool = False
    # Whether there is a firmware descriptor for each generation that is on. Debian
    # 12 and 13 have none for ES and SNP.
    es_snp_firmware: bool = True
    # The firmware of guests with SEV-SNP, a file; "" is the distribution's OVMF.
    snp_firmware: str = ""
    # What they are given instead by a host that lies about it; "" for an honest host.
    other_snp_firmware: str = ""
    # Whether guests with UEFI halt at their first instruction. Firmware takes seconds
    # of a core under emulation: for tests that do not look into the guest. A live host
    # that began with it can be given the real one, and back.
    halting_firmware: bool = False
    # Whether the kernel's misc control group is there, which counts the ASIDs.
    misc_cgroup: bool = False
    # The Debian whose libvirt and QEMU it runs, by codename; "" is this machine's.
    distribution: str = ""
    # libvirt's own names: ports it may give to VNC and SPICE, and to migration.
    remote_display_port_min: int = 5900
    remote_display_port_max: int = 65535
    migration_port_min: int = 49152
    migration_port_max: int = 49215

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check_type(field.name, type(field.default))
        if not _HOSTNAME.fullmatch(self.name):
            raise SettingsError(f"name={self.name!r} is not a host name.")
        if not _CODENAME.fullmatch(self.distribution):
            raise SettingsError(
                f"distribution={self.distribution!r} is not a codename."
            )
        self._check_range("max_asid", 0, 0xFFFF)
        if not 1 <= self.min_asid <= self.max_asid + 1:
            raise SettingsError(
                f"min_asid={self.min_asid} must lie between 1 (no ASIDs for ES and "
                f"SNP) and max_asid+1={self.max_asid + 1} (none for plain SEV)."
            )
        self._check_range("cbitpos", 32, 63)
        self._check_range("reduced_phys_bits", 1, 63)
        self._check_ports("remote_display_port", 5900)
        self._check_ports("migration_port", 1)

    def _check_type(self, name: str, wanted: type) -> None:
        value = getattr(self, name)
        if type(value) is not wanted:
            raise SettingsError(f"{name}={value!r} must be of type {wanted.__name__}.")

    def _check_range(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise SettingsError(f"{name}={value} must lie between {low} and {high}.")

    def _check_ports(self, prefix: str, lowest: int) -> None:
        self._check_range(f"{prefix}_min", lowest, 65535)
        self._check_range(f"{prefix}_max", lowest, 65535)
        low, high = getattr(self, f"{prefix}_min"), getattr(self, f"{prefix}_max")
        if low > high:
            raise SettingsError(f"{prefix}_min={low} is above {prefix}_max={high}.")

    @property
    def sev_slots(self) -> int:
        """Guests with plain SEV that fit: libvirt's maxGuests."""
        return self.max_asid - self.min_asid + 1

    @property
    def sev_es_slots(self) -> int:
        """Guests with SEV-ES or SEV-SNP that fit: libvirt's maxESGuests."""
        return self.min_asid - 1

    @property
    def kernel_parameters(self) -> dict[str, bool]:
        """/sys/module/kvm_amd/parameters after loading.

        The kernel turns off what the hardware or a lower generation lacks.
        """
        sev = self.sev and self.smee and self.max_asid > 0
        sev_es = sev and self.sev_es and self.sev_es_slots > 0
        return {"sev": sev, "sev_es": sev_es, "sev_snp": sev_es and self.sev_snp}

    @property
    def has_device(self) -> bool:
        """Whether there is a /dev/sev."""
        return self.smee and self.psp

    def replace(self, **changes: Any) -> HostSettings:
        """The same host with some settings changed."""
        return _build({**dataclasses.asdict(self), **changes})

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> HostSettings:
        try:
            values = json.loads(text)
        except ValueError as error:
            raise SettingsError(f"The settings are not JSON: {error}") from error
        if not isinstance(values, dict):
            raise SettingsError("The settings must be a JSON object.")
        return _build(values)


def _build(values: dict[str, Any]) -> HostSettings:
    known = [field.name for field in dataclasses.fields(HostSettings)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise SettingsError(
            f"Unknown settings {', '.join(unknown)}; known are {', '.join(known)}."
        )
    return HostSettings(**values)
