# SPDX-License-Identifier: Apache-2.0

"""nova-compute's side: the only code besides driver.py that imports Nova.

::

    admission           the checks before each operation on a guest
    audit               checks that running guests are encrypted as requested
    build_warnings      warnings about a guest's flavor and image when it is built
    capability_tracker  the current capabilities of this host
    doors               the table of operations on guests, and what each checks
    encryption_record   the model that a server was last encrypted with
    encryption_removed  warnings when a resize or rebuild removes encryption
    errors              translates errors to Nova's, logs and counts them
    failed_builds       powers off guests that a failed build left running
    failed_rebuilds     keeps the allocations and image of a failed rebuild
    foreign_guests      guests with a model of another vendor
    guarded_guest       Nova's Guest with checks before start and attachment
    instance            the GuestRequest of Nova's instance
    kernel_boot         the guest firmware of a guest with a kernel of its image
    launch_facts        writes what was launched into the server's metadata
    lost_allocations    restores allocations that Placement has lost
    metrics_reporter    writes the metrics to the log and to the textfile
    new_host            queries Placement for the new host of a move
    next_launch         predicts the launch digest before a guest is stopped
    nova_compat         patches of Nova, and its private names that are used
    provider_tree       writes the resource providers into Nova's tree
    refused_resizes     restores the flavor of a server whose resize was refused
    rescue              rescue of encrypted guests
    slot_consumers      queries Placement and the database for consumers
    slot_exchange       exchanges a slot for one of the guest's model
    startup_check       checks the guests when nova-compute starts
    unmanaged_guests    running guests without an allocation of their slot
    verdict             what is wrong with a guest at a door, from the facts
"""
