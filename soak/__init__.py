# SPDX-License-Identifier: Apache-2.0
"""Whether the count stays right under load: ``python -m soak``, or make soak.

Two simulated hosts with SEV, SEV-ES and SEV-SNP, few slots of each, and servers that
are made and deleted at random. After each settle all who count slots must agree:

==============  ============================================================
``chance``      what is asked for next, at random, by a seed
``cloud``       the cloud: two hosts, and a flavor and an image for each kind
``look``        asks everybody who counts: Nova, Placement, libvirt, the simulator
``tables``      what they have said, as values
``checker``     where they disagree, in plain words
``rounds``      requests, settle, look, again
``strangers``   guests that Nova does not know, which come and go
``processes``   what nova-compute's processes hold: memory, open files
``growth``      ten thousand periodic updates of one driver, and what it then holds
``on_host``     that driver's process
==============  ============================================================
"""
