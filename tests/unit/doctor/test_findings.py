# SPDX-License-Identifier: Apache-2.0

"""findings: what was found in, an exit status out."""

import pytest

from sev_driver.doctor import findings
from sev_driver.doctor.findings import Check, Finding, Verdict

PASS, WARN, FAIL, SKIP = Verdict
FITS, PLAIN, READ = "flavor.fits", "host.plain", "flavor.read"


@pytest.mark.parametrize(
    ("found", "status", "of_upgrade"),
    [
        ({}, 0, 0),
        ({FITS: PASS}, 0, 0),
        ({FITS: WARN, PLAIN: PASS}, 0, 1),
        ({FITS: FAIL, PLAIN: WARN}, 1, 2),
        ({FITS: PASS, PLAIN: SKIP}, 0, 0),
        # A flavor that was not read may be one that needs a change.
        ({READ: SKIP}, 0, 1),
        ({READ: FAIL}, 1, 2),
    ],
)
def test_exit_statuses(found: dict[str, Verdict], status: int, of_upgrade: int) -> None:
    all_found = tuple(
        Finding(Check(id_, "A title", "the flavors"), verdict, "")
        for id_, verdict in found.items()
    )
    assert findings.exit_status(all_found) == status
    assert findings.upgrade_status(all_found) == of_upgrade
