# SPDX-License-Identifier: Apache-2.0
"""``make demo``: an encrypted guest from flavor to libvirt and Placement.

===============  =============================================================
``stage``        shows steps, commands and facts; a fact that fails, fails all
``scenario``     the steps themselves
``generations``  those on a host with SEV-ES and SEV-SNP
``owner``        the owner of a guest with SEV-SNP, who checks it
``omne_verify``  a verifier of reports, with the library omne-attest
``domain``       what libvirt's XML says of a guest's encryption
``command``      starts a cloud, runs the scenario, stops the cloud
===============  =============================================================
"""
