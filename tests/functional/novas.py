# SPDX-License-Identifier: Apache-2.0

"""What differs between the Nova releases in their own fixtures for tests."""

import importlib.metadata
import os
from typing import Any

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt

RELEASE = int(importlib.metadata.version("nova").partition(".")[0])
#: What runs in Nova's own tests.
COMPUTE_DRIVER = os.environ.get("COMPUTE_DRIVER", "sev_driver.SEVDriver")

#: libvirt's word on a host that has SEV, 100 slots, and SEV-ES, 15 slots.
WITH_SEV = """  <features>
    <gic supported='no'/>
    <sev supported='yes'>
      <cbitpos>47</cbitpos>
      <reducedPhysBits>1</reducedPhysBits>
      <maxGuests>100</maxGuests>
      <maxESGuests>15</maxESGuests>
    </sev>
  </features>"""


class KernelAnswersFixture(fixtures.Fixture):  # type: ignore[misc]
    """Answers in place of Nova's look at the kernel's parameters.

    Nova 34's own fixture does it as well; before that there was none.
    """

    sev = False
    sev_es = False
    sev_snp = False

    def setUp(self) -> None:
        super().setUp()

        def supports(host: Any, model: str = "sev") -> bool:
            return bool(getattr(self, model.replace("-", "_")))

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.virt.libvirt.host.Host._kernel_supports_amd_sev", supports
            )
        )


def use_kvm_parameters(case: Any, fixture: type) -> None:
    """Have ``case.libvirt.amd_sev`` be a ``fixture``; call it before setUp."""
    module = "nova.tests.fixtures.libvirt"
    if RELEASE >= 34:
        # LibvirtFixture makes its own by this name.
        case.useFixture(fixtures.MonkeyPatch(f"{module}.AmdSevFixture", fixture))
        return
    set_up = fakelibvirt.LibvirtFixture.setUp

    def with_parameters(this: Any) -> None:
        set_up(this)
        this.amd_sev = this.useFixture(fixture())

    target = f"{module}.LibvirtFixture.setUp"
    case.useFixture(fixtures.MonkeyPatch(target, with_parameters))
