# SPDX-License-Identifier: Apache-2.0

"""A cloud of one host with slots of every generation."""

import dataclasses
from typing import Any

from devcloud.testing import CloudFixture

SEV, SEV_ES, SNP = "node1_amd_sev", "node1_amd_sev_es", "node1_amd_sev_snp"
NONE_USED = {SEV: 0, SEV_ES: 0, SNP: 0}
#: 15 ASIDs: 10 of plain SEV, and 5 that SEV-ES, here with 2, and SEV-SNP share.
HOST: dict[str, Any] = {
    "min_asid": 6,
    "sev_es": True,
    "sev_snp": True,
    "misc_cgroup": True,
}
NOVA = {
    "DEFAULT": {"update_resources_interval": "1"},
    "sev": {"num_sev_es_guests": "2"},
}


@dataclasses.dataclass(frozen=True)
class Generation:
    provider: str
    launch_security: str
    policy: int
    loader_type: str
    locked: bool
    model: str | None = None

    @property
    def pool(self) -> str:
        return "sev" if self.provider == SEV else "sev_es_snp"


GENERATIONS = {
    "sev": Generation(SEV, "sev", 0x33, "pflash", True),
    "es": Generation(SEV_ES, "sev", 0x37, "pflash", True, "amd-sev-es"),
    "snp": Generation(SNP, "sev-snp", 0x30000, "rom", False, "amd-sev-snp"),
}


class Split(CloudFixture):
    """A cloud of one host with a flavor and an image for each generation."""

    def _setUp(self) -> None:
        super()._setUp()
        uefi = self.make_image("uefi", hw_firmware_type="uefi")
        stateless = self.make_image(
            "stateless", hw_firmware_type="uefi", hw_firmware_stateless="true"
        )
        self.bios = self.make_image("bios")
        self.plain = self.make_flavor("plain")
        self.parts = {}
        for name, generation in GENERATIONS.items():
            asks = {"hw__mem_encryption": "true"}
            if generation.model:
                asks["hw__mem_encryption_model"] = generation.model
            image = stateless if name == "snp" else uefi
            self.parts[name] = self.make_flavor(name, **asks), image

    def boot_one(self, name: str) -> Any:
        server = self.boot(name, *self.parts[name])
        assert server.status == "ACTIVE", server.fault
        return server

    def see_encrypted(self, server: Any, name: str) -> None:
        domain, wanted = self.domain(server), GENERATIONS[name]
        assert domain.launch_security == wanted.launch_security
        assert domain.policy == wanted.policy
        assert domain.loader and "OVMF" in domain.loader
        assert domain.loader_type == wanted.loader_type
        assert domain.locked is wanted.locked
        assert domain.virtio and all(domain.virtio.values()), domain.virtio
        assert "q35" in domain.machine

    def held(self) -> dict[str, int]:
        """Slots that the hardware has given away, by its own count."""
        return self.cloud.hosts[0].slots_in_use()
