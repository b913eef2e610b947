#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.
"""Sphinx directive ``reckoned``: a table of rows that a function yields.

``.. reckoned:: capacity.guest_rows`` calls that function when the manual is
built, so that what it says is what the code says.
"""

import importlib
from collections.abc import Iterable

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Reckoned(SphinxDirective):
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
    app.add_directive("reckoned", Reckoned)
    return {"parallel_read_safe": True}
