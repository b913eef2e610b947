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
"""``make demo``: an encrypted guest from flavor to libvirt and Placement.

===============  =============================================================
``stage``        shows steps, commands and facts; a fact that fails, fails all
``scenario``     the steps themselves
``generations``  those on a host with SEV-ES and SEV-SNP
``domain``       what libvirt's XML says of a guest's encryption
``command``      starts a cloud, runs the scenario, stops the cloud
===============  =============================================================
"""
