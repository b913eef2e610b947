# SPDX-License-Identifier: Apache-2.0
"""Configuration files of the cloud's services, as sections of options."""
