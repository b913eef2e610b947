# SPDX-License-Identifier: Apache-2.0

"""Metrics, and the log's report about the host.

::

    host_report      log lines about the models and slots of the host
    metrics          the metrics of Prometheus, and the log lines with their values
    refusal_reasons  the reasons of refusals, as labels of a metric
    textfile         writes the metrics for node_exporter's textfile collector
"""
