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
"""A cloud with several compute hosts: stock Nova processes, RabbitMQ, MariaDB.

==============  ============================================================
``init``        the cloud's first process: databases, queue, services, hosts
``node``        a compute host's first process: its libvirtd, its nova-compute
``compute``     that nova-compute
``attendant``   what both are: they keep processes and do what one asks of them
``control``     how one asks: a socket in the state folder
``power``       the same for a person or a test: hosts that go off and on
``rabbitmq``    ``mariadb``: private ones, of this cloud alone
``readiness``   how they tell that they are up
``config``      nova.conf, one for the control processes and one for each host
``testing``     such a cloud for tests
==============  ============================================================

The namespaces: those of any cloud, and in them for each host a mount, a UTS
and a PID namespace. A host that loses its power is one process killed, and so
is the cloud.
"""
