# SPDX-License-Identifier: Apache-2.0

"""The option for metrics."""

from __future__ import annotations

from oslo_config import cfg

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "prometheus_textfile",
        help="""
File to which metrics for Prometheus are written.

The file has the numbers of used, free, reserved and lost slots, of refusals by reason,
and of failed audits, in the format of node_exporter's textfile collector. It is
replaced atomically with each update of the host's resources
(``[DEFAULT] update_resources_interval``). The page "Monitoring" of the manual lists
all metrics.

Possible values:

* Unset (default): no file is written.
* A path that ends with ``.prom``, in the directory of node_exporter's option
  ``--collector.textfile.directory``. nova-compute needs write access to the directory.

The Python package prometheus_client must be installed with nova-compute. If it is not,
or if the file cannot be written, a warning is logged; nothing else changes.

If this option is set, the driver queries Placement for the consumers of slots also for
models that no guest uses, as often as ``[sev] allocation_check_interval`` says.

Related options:

* ``[sev] audit_interval``
* ``[DEFAULT] update_resources_interval``
""",
    ),
]
