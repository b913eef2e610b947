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
