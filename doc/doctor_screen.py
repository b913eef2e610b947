# SPDX-License-Identifier: Apache-2.0
"""Sphinx directive ``doctor-screen``: what sev-doctor says of a recorded host.

``.. doctor-screen:: HOST [option ...]`` has ``sev-doctor --from`` judge the host of
``doc/hosts/HOST.json`` when the manual is built, and shows what it prints.
"""

import contextlib
import io
import json
import os
import pathlib
import tempfile
from typing import Any
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from sev_driver.cmd import doctor
from sev_driver.doctor.host.archive import Archive, Failure, pack

HOSTS = pathlib.Path(__file__).parent / "hosts"
DESCRIPTORS = pathlib.Path(__file__).parents[1] / "tests/data/firmware"


class DoctorScreen(SphinxDirective):
    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        host, *options = self.arguments[0].split() + self.arguments[1:]
        self.env.note_dependency(str(HOSTS / f"{host}.json"))
        text = f"$ {' '.join(['sev-doctor', *options])}\n{screen(host, *options)}"
        return [nodes.literal_block(text, text, language="text")]


def screen(host: str, *options: str) -> str:
    """What the console script prints of the host on a terminal of 80 columns."""
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "host.json.gz")
        with open(file, "wb") as archive:
            archive.write(pack(Archive("2026-01-01T00:00:00+00:00", "", answers(host))))
        with (
            mock.patch.dict(os.environ, {"COLUMNS": "80"}),
            contextlib.redirect_stdout(said),
        ):
            doctor.main([*options, "--from", file])
    return said.getvalue()


def answers(host: str) -> dict[str, bytes | Failure]:
    """What is recorded of a host: text, or the number and words of an error."""
    recorded: dict[str, Any] = json.loads((HOSTS / f"{host}.json").read_text())
    found = answers(recorded["of"]) if "of" in recorded else {}
    for name, answer in recorded["answers"].items():
        text = isinstance(answer, str)
        found[name] = answer.encode() if text else Failure(answer[1], answer[0])
    for place, folder in recorded["descriptors"].items():
        files = sorted((DESCRIPTORS / folder).iterdir()) if folder else []
        found[f"folders{place}"] = json.dumps([file.name for file in files]).encode()
        for file in files:
            found[f"files{place}/{file.name}"] = file.read_bytes()
    return found


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("doctor-screen", DoctorScreen)
    return {"parallel_read_safe": True}
