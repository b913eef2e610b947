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

"""Options that say whom the driver tells of its numbers."""

from __future__ import annotations

from oslo_config import cfg

SEV_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "prometheus_textfile",
        help="""
The file that metrics are written to, for Prometheus.

It has the slots that are used, free, reserved and lost, refusals by their reason,
and failures of the audit, in the format that the textfile collector of
node_exporter reads. It is written anew with each update of the host's resources
(``[DEFAULT] update_resources_interval``), in one step. The manual's page
"Monitoring" has all metrics.

Possible values:

* unset (default): no file is written.
* a path whose name ends with ``.prom``, in the folder that node_exporter is given by
  ``--collector.textfile.directory``. nova-compute must be able to make files there.

prometheus_client must be installed where nova-compute runs. Where it is not, or
where the file cannot be written, a warning is logged, and all else goes on.

Where it is set, nova-compute asks Placement with each update who holds slots of
a generation that no guest runs with.

Related options:

* ``[sev] audit_interval``
* ``[DEFAULT] update_resources_interval``
""",
    ),
]
