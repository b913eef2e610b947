# SPDX-License-Identifier: Apache-2.0

"""The checks of a host, in the order of cause; a file for the first part of their id.

::

    processor      Its vendor and its EPYC generation.
    bios           The BIOS setup: SME, ASIDs, IOMMU, SEV-SNP.
    kernel         Its version, kvm_amd, devices, control groups and limits.
    libvirt        libvirt and QEMU: reached, allowed to open devices, able to do SEV.
    firmware       The guest firmware: descriptors, and which one libvirt takes.
    nova           nova-compute, its import of the driver, and nova.conf.
    launch_digest  As to nova.conf: is a launch digest the same on other hosts?
    network        The switch of vhost-user ports.
    slots          Slots for encryption keys: offered, used, free.
    memory         Memory: encrypted guests pin theirs, so it can be promised only once.
"""
