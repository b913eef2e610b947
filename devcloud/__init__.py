# SPDX-License-Identifier: Apache-2.0
"""A real OpenStack cloud on one machine, with a simulated AMD SEV host.

Not part of the installed package: it is for seeing and testing the driver.

================  ==========================================================
``__main__``      the commands: demo, up, down, status, power, report
``cloud``         a cloud as its user sees it: start, find again, stop
``testing``       such a cloud for tests, with what they do in it
``client``        the real openstack client
``status``        what one is told of a cloud
``guest_report``  a guest's attestation report, as its /dev/sev-guest would give it
``launch``        starts the cloud's first process
``init``          that process: pid 1 of the cloud's own namespaces
``layout``        the state folder: where a cloud keeps what
``settings``      what a cloud is asked to be
``services/``     what init starts, one module a program
``config/``       the programs' configuration files
``hosts``         the compute host: simulated, or this machine's own SEV
``simhost/``      the simulated SEV host
``multinode/``    clouds with several compute hosts
``open_vswitch``  the switch of a cloud with Neutron, unpacked below .venv
``linux_guest/``  a guest with a real Linux, which says what it sees
``demo/``         the steps of ``make demo``, each shown and asserted
================  ==========================================================
"""
