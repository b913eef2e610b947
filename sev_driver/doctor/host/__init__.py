# SPDX-License-Identifier: Apache-2.0

"""sev-doctor on one host: what is read there, and the checks of it.

::

    archive       What was read on a host, as one file: written there, judged elsewhere.
    diagnosis     Runs all checks, for each model.
    domains       Running domains: what is kept of their XML.
    evidence      What was read on a host, as one value; the checks see nothing else.
    gather        Reads all of that, with the driver's own readers.
    libvirt       What libvirt is asked, over a connection of the doctor's own.
    nova_compute  Finds this host's nova-compute, and tries its import of the driver.
    nova_conf     nova.conf: the options that are checked, and no other's value.
    ownership     Whose files, processes and programs root's doctor believes.
    parsers       Parses files of the kernel, and libvirt's qemu.conf.
    programs      Runs a program with limits of time and output.
    readers       Reads what only the doctor needs of the kernel and of libvirt's files.
    report        A diagnosis as text for people, and as JSON for programs.
    tree          Checks as a tree: one that fails skips those that build on it.
    checks        The checks; a file for the first part of a check's id.
"""
