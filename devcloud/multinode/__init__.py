# SPDX-License-Identifier: Apache-2.0
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
``volumes``     Cinder's programs, and what it takes for an NFS
``network``     Neutron's programs, and the cloud's own network namespace
``testing``     such a cloud for tests
==============  ============================================================

The namespaces: those of any cloud, and in them for each host a mount, a UTS
and a PID namespace. A host that loses its power is one process killed, and so
is the cloud.
"""
