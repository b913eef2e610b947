# SPDX-License-Identifier: Apache-2.0

"""Hostile input: every parser of the project, under a coverage-guided fuzzer.

``python -m fuzz`` runs all targets, each in a process of its own. A target needs
nothing but bytes: what was found is replayed without a fuzzer.
"""
