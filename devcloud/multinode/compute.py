#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
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
