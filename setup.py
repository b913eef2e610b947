# SPDX-License-Identifier: Apache-2.0

"""pbr reads everything from setup.cfg; this corrects one thing after it."""

import setuptools


class Distribution(setuptools.Distribution):
    """A distribution whose packages have dotted names.

    pbr takes a path in setup.cfg, and passes it on as the package's name. A
    wheel comes out right all the same; an editable install does not.
    """

    def finalize_options(self) -> None:
        """Let pbr fill in the options, then turn the paths into names."""
        super().finalize_options()
        self.packages = [name.replace("/", ".") for name in self.packages or ()]


# Without git pbr does not know of files that are no modules.
setuptools.setup(
    pbr=True,
    distclass=Distribution,
    package_data={"sev_driver.doctor": ["*.json"]},
)
