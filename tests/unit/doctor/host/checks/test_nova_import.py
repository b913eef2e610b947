# SPDX-License-Identifier: Apache-2.0

import pytest
from nova_evidence import evidence

from sev_driver.doctor.findings import Verdict
from sev_driver.doctor.host.checks import nova
from sev_driver.doctor.host.evidence import Fact, Import, NovaCompute
from sev_driver.doctor.host.tree import checks_of, run_checks
from sev_driver.model import MemoryEncryptionModel

PASS, WARN, FAIL, SKIP = Verdict
HERE = NovaCompute("/opt/nova/bin/python3")

#: What sev-driver-link --check says.
NOT_LINKED = """\
nova-compute cannot load the driver:
    ModuleNotFoundError: No module named 'nova.virt.sev_driver'
Nova looks for it in its own folder only, and sev_driver is in another.
Let it be found, as root:
    /usr/bin/python3 -m sev_driver.cmd.link
That writes one file, /usr/lib/python3/dist-packages/nova/virt/sev_driver/__init__.py"""
NOT_INSTALLED = """\
sev_driver is not installed for /opt/nova/bin/python3, which has Nova in
/opt/nova/lib. Install it with that Python:
    /opt/nova/bin/python3 -m pip install --no-deps sev_driver-*.whl"""
BROKEN = """\
nova-compute cannot load the driver:
    SyntaxError: invalid syntax
The driver was found, and fails as it is imported."""


@pytest.mark.parametrize(
    ("compute", "tried", "verdicts", "said", "remedy"),
    [
        (Fact(), Fact(), (SKIP, SKIP), "", ""),
        (Fact(NovaCompute("/x", elsewhere=True)), Fact(), (SKIP, SKIP), "", ""),
        (Fact(HERE), Fact(unknown="it took long"), (PASS, SKIP), "it took long", ""),
        (Fact(HERE), Fact(Import(True, "it can\nfrom /x")), (PASS, PASS), "/x", ""),
        (
            Fact(HERE),
            Fact(Import(False, NOT_LINKED)),
            (PASS, FAIL),
            "No module named 'nova.virt.sev_driver' Nova looks",
            "as root: /usr/bin/python3 -m sev_driver.cmd.link (That writes one file",
        ),
        (
            Fact(HERE),
            Fact(Import(False, NOT_INSTALLED)),
            (PASS, FAIL),
            "sev_driver is not installed for /opt/nova/bin/python3",
            "as root: /opt/nova/bin/python3 -m pip install",
        ),
        (
            Fact(HERE),
            Fact(Import(False, BROKEN)),
            (PASS, FAIL),
            "SyntaxError",
            "repair the installation for that Python",
        ),
    ],
)
def test_what_is_concluded(
    compute: Fact[NovaCompute],
    tried: Fact[Import],
    verdicts: tuple[Verdict, Verdict],
    said: str,
    remedy: str,
) -> None:
    host = evidence(nova_compute=compute, driver_import=tried)
    found, imported = run_checks(
        checks_of(nova)[:2], host, MemoryEncryptionModel.AMD_SEV
    )
    assert (found.verdict, imported.verdict) == verdicts
    assert said in imported.seen
    assert remedy in imported.remedy
