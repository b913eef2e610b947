# SPDX-License-Identifier: Apache-2.0
"""The two kinds of host with SEV: a simulated one, and this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import shutil
import stat
import subprocess
from pathlib import Path

from devcloud.simhost import firmware, mounts, processor
from devcloud.simhost.layout import (
    BIN,
    CONTROL_GROUP,
    FIRMWARE,
    LAUNCHES,
    MONITORS,
    SHIM,
    SLOTS,
)
from devcloud.simhost.private_libvirt import HostError, PrivateLibvirt, write
from devcloud.simhost.sevsim import misc_cgroup, slots
from devcloud.simhost.sevsim.platform import Platform

_HERE = Path(__file__).parent
_WRAPPER = "qemu-system-x86_64"
_PARAMETER = Path("/sys/module/kvm_amd/parameters/sev")
_DEVICE = Path("/dev/sev")
_CPUINFO = Path("/proc/cpuinfo")
_MISC_CGROUP = Path("/sys/fs/cgroup/misc.current")
_UNIT_MEMLOCK = 64 << 20  # LimitMEMLOCK in libvirtd.service
_MISC_DEVICES = 10  # major number of the kernel's own /dev/sev


class SimulatedHost(PrivateLibvirt):
    """A host whose SEV is made up from its settings. It encrypts nothing."""

    def _mount_more(self) -> None:
        Path(FIRMWARE).mkdir(parents=True, exist_ok=True)
        mounts.bind(self.layout.firmware, FIRMWARE)
        devices = ("kvm", "sev") if self.settings.has_device else ("kvm",)
        mounts.private_devices(extra=devices)
        mounts.bind(self.layout.cpuinfo, "/proc/cpuinfo")
        mounts.bind_if_there(self.layout.iommu, "/sys/class/iommu")
        mounts.add_kernel_module(
            "kvm_amd",
            self.layout.parameters,
            self.layout.state / "sys-module",
            others=("ccp",),
        )
        mounts.hide_control_groups()
        if self.settings.misc_cgroup:
            mounts.bind(self.layout.control_group, CONTROL_GROUP)

    def _mount_last(self) -> None:
        if self.settings.halting_firmware:
            for name in firmware.IMAGES:
                for target in self.userland.shown(Path("/usr/share", name)):
                    mounts.bind(self._image(name), target)

    def libvirtd_command(self) -> tuple[list[str], dict[str, str]]:
        command, environment = super().libvirtd_command()
        settings = self.settings
        environment |= {
            "PATH": f"{BIN}{os.pathsep}{environment['PATH']}",
            "LD_PRELOAD": SHIM,
            "SEVSIM_MIN_ASID": str(settings.min_asid),
            "SEVSIM_MAX_ASID": str(settings.max_asid),
            "SEVSIM_CBITPOS": str(settings.cbitpos),
            "SEVSIM_REDUCED_PHYS_BITS": str(settings.reduced_phys_bits),
            "SEVSIM_MONITORS": MONITORS,
        }
        return command, environment

    def _limits(self) -> list[str]:
        return _limit_locked_memory()

    def slots_in_use(self) -> dict[str, int]:
        """ASIDs that live QEMUs hold now, by pool: sev, sev_es_snp."""
        return slots.in_use(str(self.layout.slots))

    def _make_files(self) -> None:
        super()._make_files()
        _compile(_HERE / "cpuid_shim.c", self.layout.outside(SHIM))
        self.layout.outside(MONITORS).mkdir(mode=0o700)
        # When it starts, as the kernel does: /proc has no later word on the processor.
        cpuinfo = processor.cpuinfo(_CPUINFO.read_text(), self.settings)
        write(self.layout.cpuinfo, cpuinfo)
        (self.layout.iommu / "ivhd0").mkdir(parents=True, exist_ok=True)
        shutil.copy(_HERE / _WRAPPER, self.layout.bin)
        self._copy_package(_HERE / "sevsim")
        if (measure := _library("sevsnpmeasure")) is not None:
            self._copy_package(measure)

    def _copy_package(self, folder: Path) -> None:
        shutil.copytree(
            folder,
            self.layout.bin / folder.name,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )

    def _write_settings(self) -> None:
        super()._write_settings()
        parameters = self.settings.kernel_parameters
        for name, on in parameters.items():
            write(self.layout.parameters / name, "Y\n" if on else "N\n")
        self._write_firmware()
        self._write_images()
        platform = Platform(
            **parameters,
            min_asid=self.settings.min_asid,
            max_asid=self.settings.max_asid,
            cbitpos=self.settings.cbitpos,
            reduced_phys_bits=self.settings.reduced_phys_bits,
            real_qemu=self.userland.inside(self.userland.program(_WRAPPER)),
            slots=SLOTS,
            launches=LAUNCHES if _library("sevsnpmeasure") else "",
            other_firmware=self.settings.other_snp_firmware,
            monitors=MONITORS,
            device=str(_DEVICE),
            control_group=CONTROL_GROUP if self.settings.misc_cgroup else "",
        )
        write(self.layout.bin / "sevsim.json", platform.to_json())
        write(
            self.layout.control_group / "misc.capacity", misc_cgroup.capacity(platform)
        )
        self._write_current()

    def _write_current(self) -> None:
        folder = str(self.layout.control_group)
        here = Platform(slots=str(self.layout.slots), control_group=folder)
        self.layout.slots.mkdir(parents=True, exist_ok=True)
        misc_cgroup.write_current(here)

    def _write_firmware(self) -> None:
        folder, wanted = self.layout.firmware, firmware.descriptors(self.settings)
        folder.mkdir(exist_ok=True)
        for name, text in wanted.items():
            write(folder / name, text)
        for file in folder.iterdir():
            if file.name not in wanted:
                file.unlink()

    def _write_images(self) -> None:
        """In place, where they are mounted: a live host can get the real ones back."""
        for name in firmware.IMAGES:
            file = self._image(name)
            if self.settings.halting_firmware or file.exists():
                image = self.userland.share(name).read_bytes()
                halts = self.settings.halting_firmware
                file.write_bytes(firmware.halting(image) if halts else image)

    def _image(self, name: str) -> Path:
        return self.layout.state / Path(name).name


class RealHost(PrivateLibvirt):
    """This machine's own SEV, under a private libvirtd."""

    def slots_in_use(self) -> dict[str, int]:
        """ASIDs in use on the machine, by anybody, by pool: sev, sev_es_snp."""
        text = _MISC_CGROUP.read_text() if _MISC_CGROUP.exists() else ""
        used = dict(line.split() for line in text.splitlines())
        return {
            slots.SEV: int(used.get("sev", 0)),
            slots.SEV_ES_SNP: int(used.get("sev_es", 0)),
        }


def is_real_sev_host() -> bool:
    """Whether this machine can encrypt: the kernel says so, and the PSP is there.

    A simulated /dev/sev, seen from within, is not the kernel's.
    """
    try:
        device = _DEVICE.stat()
        parameter = _PARAMETER.read_text().strip()
    except OSError:
        return False
    real = stat.S_ISCHR(device.st_mode) and os.major(device.st_rdev) == _MISC_DEVICES
    return real and bool(re.fullmatch("[Yy1]", parameter)) and _opens(_DEVICE)


def host_kind() -> type[SimulatedHost] | type[RealHost]:
    """The kind of host to make here."""
    return RealHost if is_real_sev_host() else SimulatedHost


def _opens(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError:
        return False
    return True


def _limit_locked_memory() -> list[str]:
    """What libvirtd's service unit sets: guests have it unless libvirt raises it.

    Where a shell's limit is none, guests that forget <locked/> would seem to work.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limit = _UNIT_MEMLOCK if hard < 0 else min(hard, _UNIT_MEMLOCK)
    return ["prlimit", f"--memlock={limit}"]


def _library(name: str) -> Path | None:
    """The folder of a library of this environment; None where it is not installed."""
    found = importlib.util.find_spec(name)
    return None if found is None or not found.origin else Path(found.origin).parent


def _compile(source: Path, library: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise HostError("No C compiler on this machine: install gcc.")
    options = ["-shared", "-fPIC", "-O2", "-Wall"]
    subprocess.run([compiler, *options, "-o", library, source], check=True)
