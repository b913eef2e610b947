# SPDX-License-Identifier: Apache-2.0
"""A simulated AMD SEV host: real libvirtd and QEMU, hardware's answers stood in for.

It encrypts nothing. What is real: libvirtd, QEMU (under software emulation), the
firmware and the guest. What is stood in for: CPUID leaf 0x8000001F, /dev/kvm,
/dev/sev, the kvm_amd parameters, the processor's flags, the kernel's list of IOMMUs,
and the few QMP commands that only a SEV host can answer. It refuses what hardware
refuses: a guest too many, migration, memory snapshots, a wrong C-bit, pflash with
SNP, SEV without KVM or locked memory, a kernel's hashes without a place in the
firmware, an ID block that does not fit.

How it hangs together::

    settings   HostSettings: the hardware and the kernel parameters one wants
    host       SimulatedHost, RealHost: what the cloud's init calls
    private_libvirt, layout, libvirt_conf, mounts
               a libvirtd with folders of its own, in namespaces of its own
    userland   whose libvirt, QEMU and firmware: this machine's or another Debian's
    firmware   descriptors of firmware for SEV-ES and SEV-SNP, which Debian lacks
    processor  /proc/cpuinfo, with the flags of an EPYC
    psp/       the secure processor's attestation reports and keys
    cpuid_shim.c
               preloaded into libvirtd, which asks CPUID itself for the slots
    qemu-system-x86_64, sevsim/
               stands before QEMU in libvirtd's PATH; starts the real one

A guest with SEV-SNP is measured from QEMU's own command line, its ID block is checked,
and its reports are signed by certificates made here. Not stood in for: the launch
measurement of SEV and SEV-ES (it is all zeros), and the processor's own CPUID outside
libvirtd. The misc cgroup is there if asked for. SEV's failures in the
guest (a device without iommu, firmware that knows nothing of SEV) do not happen
either.
"""
