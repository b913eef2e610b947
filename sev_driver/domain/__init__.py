# SPDX-License-Identifier: Apache-2.0

"""libvirt domain XML: transform, forbid, verify. Pure.

::

    encryption         encrypts a domain: check devices, transform, verify
    forbidden_devices  devices that an encrypted guest cannot have
    launch_security    libvirt's <launchSecurity> for each model
    launched_domain    the parts of a domain that its measurement depends on
    transforms         the changes to the domain of an encrypted guest
    verify             verifies that a domain is encrypted as requested
    xml                parsing of the XML of domains and devices
"""
