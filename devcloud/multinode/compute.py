# SPDX-License-Identifier: Apache-2.0
"""nova-compute, as its stock script starts it, on whichever libvirt is here.

``python -m devcloud.multinode.compute OPTION...``
"""

import sys

from devcloud import libvirt_compat


def main() -> None:
    # Nova takes its program's name for the name of its configuration.
    sys.argv[0] = "nova-compute"
    from nova.cmd import compute

    libvirt_compat.accept_loader_secure()
    compute.main()


if __name__ == "__main__":
    main()
