# SPDX-License-Identifier: Apache-2.0

"""The console scripts.

::

    capabilities  sev-capabilities: what the driver would conclude of another host.
    doctor        sev-doctor: what keeps a host from running encrypted guests.
    doctor_cloud  sev-doctor cloud and sev-doctor plan: the same of a cloud.
    link          sev-driver-link: make the driver loadable where Nova is elsewhere.
    owner         sev-owner: launch digests and inputs, for the owner of a guest.
    output        What the scripts share: printing, and writing a file.
"""
