# SPDX-License-Identifier: Apache-2.0
"""Known vulnerabilities of what the driver needs, where that can be asked."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("pip_audit")
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import audit


def test_there_are_none_in_what_is_pinned() -> None:
    pins = audit.runtime_pins()
    assert [pin.partition("==")[0].lower() for pin in pins][:2] == [
        "libvirt-python",
        "lxml",
    ]
    found = audit.run(pins)
    assert found.found == ()
    if not found.done:
        pytest.skip(f"pip-audit could not look: {'; '.join(found.undone)}")


def test_no_network_is_said_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = audit.run(audit.runtime_pins(), "--vulnerability-service", "osv")
    assert (found.done, found.found) == ((), ())
    assert len(found.undone) == 1
    monkeypatch.setattr(audit, "run", lambda pins: found)
    assert audit.main() == 0
    assert "NOT DONE" in capsys.readouterr().out
