# SPDX-License-Identifier: Apache-2.0

"""Known vulnerabilities of what the driver needs at runtime, by pip-audit.

Asked is a service on the network. Where it does not answer, or does not know a
package, that is said: such a package has not been looked at.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The whole of it, in seconds.
TIMEOUT = 60


@dataclasses.dataclass(frozen=True)
class Audit:
    """``done`` are the packages that were looked at, ``undone`` says why not others.

    ``found`` has a line for each vulnerability.
    """

    done: tuple[str, ...]
    undone: tuple[str, ...]
    found: tuple[str, ...]


def runtime_pins() -> list[str]:
    """Return the packages of requirements.txt as they are pinned for the tests."""
    pins = (ROOT / "constraints/nova-34.txt").read_text().splitlines()
    by_name = {_name(line): line for line in pins if "==" in line}
    needed = (ROOT / "requirements.txt").read_text().splitlines()
    return [by_name[_name(line)] for line in needed if line and line[0] != "#"]


def _name(line: str) -> str:
    return re.split(r"[<>=!~; ]", line, maxsplit=1)[0].lower().replace("_", "-")


def run(pins: list[str], *options: str, timeout: float = TIMEOUT) -> Audit:
    """Ask; never raises for want of a network.

    :param options: more of pip-audit's.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("".join(f"{pin}\n" for pin in pins))
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            str(requirements),
        ]
        command += ["--no-deps", "--disable-pip", "--format", "json"]
        command += ["--progress-spinner", "off", "--timeout", "10", *options]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            return Audit((), (f"no answer in {timeout:.0f} s",), ())
    try:
        answer = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = ended.stderr.strip().splitlines() or ["pip-audit said nothing"]
        return Audit((), (said[-1][:200],), ())
    return Audit(
        tuple(each["name"] for each in answer if "vulns" in each),
        tuple(each["skip_reason"] for each in answer if "skip_reason" in each),
        tuple(
            f"{each['name']} {each['version']}: {vulnerability['id']}, mended in "
            f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
            for each in answer
            for vulnerability in each.get("vulns", ())
        ),
    )


def main() -> int:
    """Say what was found, and what was not looked at; fail for what was found."""
    audit = run(runtime_pins())
    for line in audit.found:
        print(line)
    for line in audit.undone:
        print(f"Not looked at: {line}")
    if not audit.done:
        print("NOT DONE: no package could be looked at.")
    else:
        known = f"{len(audit.found)} known vulnerabilities"
        print(f"{known} in {', '.join(audit.done)}.")
    return 1 if audit.found else 0


if __name__ == "__main__":
    sys.exit(main())
