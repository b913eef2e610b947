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

"""The operator's guest policies, one for each generation."""

from __future__ import annotations

import dataclasses

from sev_driver.exceptions import ConfigurationError
from sev_driver.launch_security import (
    LaunchSecurity,
    SevLaunchSecurity,
    SnpLaunchSecurity,
)
from sev_driver.model import MemoryEncryptionModel
from sev_driver.policy import (
    DEFAULT_SEV_ES_POLICY,
    DEFAULT_SEV_POLICY,
    DEFAULT_SNP_POLICY,
    SevPolicy,
    SnpPolicy,
)


@dataclasses.dataclass(frozen=True)
class Policies:
    """What each generation's guests are launched with.

    :raises ConfigurationError: a policy of another generation, or one that opens
        guests to debugging without ``allow_debug``.
    """

    sev: SevPolicy = DEFAULT_SEV_POLICY
    sev_es: SevPolicy = DEFAULT_SEV_ES_POLICY
    snp: SnpPolicy = DEFAULT_SNP_POLICY
    allow_debug: bool = False

    def __post_init__(self) -> None:
        for option, model in (
            ("sev_policy", MemoryEncryptionModel.AMD_SEV),
            ("sev_es_policy", MemoryEncryptionModel.AMD_SEV_ES),
            ("snp_policy", MemoryEncryptionModel.AMD_SEV_SNP),
        ):
            launch = self.launch_security(model)
            told = f"[sev] {option} is {launch.policy.format()}"
            if launch.model is not model:
                raise ConfigurationError(
                    f"{told}, a policy of {launch.model.title}: the bit ES (0x4) "
                    f"makes the difference, set or unset it."
                )
            if launch.policy.debug and not self.allow_debug:
                raise ConfigurationError(
                    f"{told}, by which the host may debug its guests and so read "
                    f"their memory: choose another, or set [sev] allow_debug."
                )

    def launch_security(self, model: MemoryEncryptionModel) -> LaunchSecurity:
        """Return what a guest encrypted by ``model`` is launched with."""
        if model is MemoryEncryptionModel.AMD_SEV_SNP:
            return SnpLaunchSecurity(self.snp)
        es = model is MemoryEncryptionModel.AMD_SEV_ES
        return SevLaunchSecurity(self.sev_es if es else self.sev)
