# SPDX-License-Identifier: Apache-2.0
"""What the driver costs beside stock Nova: ``python -m benchmarks``, or make bench.

Both drivers do the same work in turn, in one run, on one host; what counts is the
ratio. Nothing here is a test: nothing fails because it took long.
"""
