# SPDX-License-Identifier: Apache-2.0
"""Sphinx directive ``computed``: a table of rows that a function yields.

``.. computed:: capacity.guest_rows`` calls that function when the manual is
built, so that what it says is what the code says.
"""

import importlib
from collections.abc import Iterable

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Computed(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, function = self.arguments[0].rsplit(".", 1)
        rows = getattr(importlib.import_module(module), function)()
        return self.parse_text_to_nodes(list_table(rows))


def list_table(rows: Iterable[list[str]]) -> str:
    """reStructuredText of a table; the first row is its head."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        first, *others = row
        lines.append(f"   * - {first}")
        lines += [f"     - {cell}" for cell in others]
    return "\n".join(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("computed", Computed)
    return {"parallel_read_safe": True}
