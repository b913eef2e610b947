# SPDX-License-Identifier: Apache-2.0
"""Stands between libvirtd and QEMU, for the answers only a SEV host can give.

libvirt runs ``qemu-system-x86_64`` in two ways, and both come through here:

* to ask what it can do: it then talks QMP to a machine without a guest;
* to run a guest, whose QMP monitor it keeps for the guest's life.

The wrapper rewrites the command line (KVM becomes software emulation, the SEV
object goes), leaves a small proxy on the QMP socket, and becomes the real QEMU by
exec, so that the process id libvirt knows is QEMU's. ::

    wrapper        the order of things
    platform       what this host has (sevsim.json: libvirt wipes the environment)
    command_line   argv in, argv and what was asked for out
    refusals       why this host's QEMU would not start such a guest
    guest_firmware whether a firmware has a place for a kernel's hashes
    launch         what the secure processor measures and checks of SEV-SNP
    p384           the signatures of an ID block
    slots          the ASIDs, each a locked file held by QEMU itself
    misc_cgroup    the kernel's count of them, where the host shows one
    answers        the QMP commands that are answered here
    proxy          the process between libvirt and QEMU's monitor

The folder is copied beside the wrapper and run by the system's own Python: standard
library only, Python 3.10 or later, and imports stay within this package. The library
sev-snp-measure, in pure Python as far as it measures, is copied beside it.
"""
