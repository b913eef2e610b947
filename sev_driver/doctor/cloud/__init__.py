# SPDX-License-Identifier: Apache-2.0

"""sev-doctor cloud and plan: what a cloud's APIs tell with an operator's credentials.

::

    allocation_candidates  What Nova asks Placement for a guest, without Nova.
    api                    The APIs, called by openstacksdk.
    catalog                Flavors and images that ask for encryption.
    compatibility          A flavor with an image: what rules it out on any host.
    domain_preview         The libvirt domain that such a guest would get.
    facts                  What the APIs tell, as values, and what could not be read.
    hosts                  Hosts and their slots, as findings and as a table.
    launch_digests         Whether hosts give a guest the same launch digest.
    owner_inputs           Launch inputs of a guest, before it is created.
    plan                   Whether a guest would boot, and where.
    report                 A cloud or a plan as text for people, and as JSON.
    unreadable_models      Images and servers whose model another Nova cannot read.
"""
