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
"""The compute host of a cloud: simulated, or this machine's own SEV."""

import os
import sys
import time

sys.path.insert(0, "/tmp/protohost")
from protohost import SimulatedHost

LIBVIRTD = "/run/libvirt/libvirt-sock"


def compute_host(settings, layout, node):
    return SimulatedHost({}, layout.host(node.name))


def wait_for_libvirtd():
    while not os.path.exists(LIBVIRTD):
        time.sleep(0.1)
