# SPDX-License-Identifier: Apache-2.0

"""Numbers and names for Placement. Pure.

::

    allocations    allocation records: their consumers, moves and checks
    freshness      how long Placement's answers may be reused
    inventory      the slots of each model to offer, and their inventories
    pools          the pools of ASIDs that models share
    provider_plan  the inventories and traits that the providers should have
    providers      the names and traits of the resource providers
    reserved       the slots in use without an allocation
"""
