# SPDX-License-Identifier: Apache-2.0

"""A simulated secure processor: attestation reports, and the keys that sign them.

Its certificates are made here. They have the names that AMD's have, without which
verifiers refuse them, and each says SIMULATED. A report proves nothing. ::

    keys      ARK, ASK and VCEK of one host
    report    the 1184 bytes that a guest gets from /dev/sev-guest
    guest     both, for a guest that runs

What a guest was launched as is found out when it starts: see ``sevsim/launch.py``.
"""
