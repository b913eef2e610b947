# SPDX-License-Identifier: Apache-2.0

"""Where nova-compute looks for ``compute_driver = sev_driver.SEVDriver``."""

from sev_driver.driver import SEVDriver

__all__ = ["SEVDriver"]
