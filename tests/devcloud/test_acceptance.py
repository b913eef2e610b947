# SPDX-License-Identifier: Apache-2.0
"""make acceptance: refused without SEV; its report, with SEV."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location(
    "acceptance", ROOT / "tools/acceptance.py"
)
assert _SPEC is not None and _SPEC.loader is not None
acceptance = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(acceptance)


def test_a_host_without_sev_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(acceptance, "is_real_sev_host", lambda: False)
    assert acceptance.main(["false"]) == 2
    told = capsys.readouterr().err
    assert "this machine has no working SEV" in told
    assert "sev-doctor" in told and "make e2e" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("tests", "status"), [("true", 0), ("false", 1)])
def test_the_report_has_the_doctor_and_the_tests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tests: str, status: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(acceptance, "is_real_sev_host", lambda: True)
    assert acceptance.main([tests]) == status
    (report,) = tmp_path.glob("acceptance-*.txt")
    text = report.read_text()
    assert "sev_driver.cmd.doctor --verbose --save" in text
    assert f"$ {tests} -v tests/e2e/test_encrypted_guest.py" in text
    assert report.with_suffix(".json.gz").exists()


def test_the_tests_exist() -> None:
    for path in acceptance.TESTS:
        assert (ROOT / path).is_file()
