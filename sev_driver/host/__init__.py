# SPDX-License-Identifier: Apache-2.0

"""What a host can do: facts are read, capabilities are detected. No Nova.

::

    capabilities         the models that a host supports, and the obstacles
    cpuid                CPUID leaf 0x8000001F
    detection            the rules that turn facts into capabilities
    domain_capabilities  libvirt's <domainCapabilities>
    facts                the facts of a host, as data
    files                files and directories of this machine, or of an archive
    firmware             QEMU's firmware descriptors
    firmware_dirs        the directories of the descriptors
    guest_cpu            the CPU signature that a guest sees
    guest_firmware       a guest firmware's tables for SEV, and libvirt's selection
    kernel               readers of /sys, /dev and CPUID
    kernel_log           the lines of the kernel's log that concern SEV
    kernel_rules         the rules of detection about processor, BIOS setup and kernel
    libvirt_connection   connections to libvirt, and a cache of its replies
    memory               the memory that encrypted guests pin, and what to reserve
    processor            the processor's vendor, family and EPYC generation
    psp_watch            finds a failure of the secure processor in the log
    reader               reads all facts of a host
    slot_counts          the number of slots of each model, by source
"""
