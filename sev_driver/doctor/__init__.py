# SPDX-License-Identifier: Apache-2.0

"""sev-doctor: what keeps a host or a cloud from running encrypted guests.

::

    findings  A finding, its verdict, and the check that it is of.
    host      One host: what is read there, and the checks of it.
    cloud     A cloud, by its APIs: flavors, images, hosts, slots, and a plan.
    text      A finding as lines for people, and as JSON.
"""
