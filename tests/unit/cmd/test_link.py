# SPDX-License-Identifier: Apache-2.0

"""sev-driver-link: what it says of a Nova that cannot be imported."""

import pytest

from sev_driver.cmd import link


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            AttributeError("module 'os_traits' has no attribute 'HW_CPU_X86_AMXBF16'"),
            ["os-traits ", "is older than this Nova needs", "--upgrade os-traits"],
        ),
        (
            ImportError("cannot import name 'x' from 'oslo_utils.y' (/usr/lib/y.py)"),
            ["oslo-utils ", "is older than this Nova needs"],
        ),
        (
            ModuleNotFoundError("No module named 'webob'", name="webob"),
            ["Install webob for "],
        ),
        (ValueError("odd"), ["ValueError: odd", "Repair the installation of Nova."]),
    ],
)
def test_nova_that_cannot_be_imported_is_not_the_drivers_fault(
    error: Exception, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(link.importlib, "import_module", fail)
    with pytest.raises(link.LinkError) as caught:
        link.check(link.find_places())
    words = str(caught.value)
    assert words.startswith("Nova itself cannot be imported; sev_driver is not the")
    assert all(each in words for each in said)
