# SPDX-License-Identifier: Apache-2.0

"""The options of sev_driver in nova.conf, and what they mean together.

::

    guests      the start of guests, and the audit of running guests
    monitoring  metrics for Prometheus
    opts        all options by group: registered, and listed for the sample
    policy      the guest policies
    slots       the numbers of guests of each model
    stock_nova  the preparation of a host for Nova's own driver
"""
