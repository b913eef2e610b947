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


setuptools.setup(pbr=True, distclass=Distribution)
