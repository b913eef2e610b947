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
"""What the driver's modules say by themselves, read from their sources.

Each value that a text takes in is an x here.
"""

import ast
import pathlib
import re
from collections.abc import Iterator

import sev_driver

#: By the label of messages.rst: a module, and what its messages begin with.
LABELS = {
    "audit-stops": ("audit", "Audit: powering"),
    "audit-unknown": ("audit", "Audit: whether"),
    "audit-nobody": ("audit", "Audit: no guest"),
    "taken-away": ("withdrawal", "The re"),
    "holders": ("holders", "Who holds"),
    "leftover": ("leftovers", "What is left"),
    "leftover-ended": ("leftovers", "A build that"),
    "not-started": ("start", "It will"),
    "support-at-start": ("start", "Server x"),
}
_SOURCES = {
    path.stem: ast.parse(path.read_text())
    for path in pathlib.Path(sev_driver.__file__).parent.glob("*.py")
}
_LOUD = ("warning", "error", "exception")


def examples() -> Iterator[tuple[str, str]]:
    """Yield label and text."""
    for label, (module, beginning) in LABELS.items():
        texts = [text for text in _texts(module) if text.startswith(beginning)]
        assert texts, f"{module} says nothing that begins with {beginning!r}"
        yield from ((label, text) for text in texts)
    (provider,) = {text for text in _texts("providers") if text.endswith("x: x")}
    (gone,) = {text for text in _texts("provider_update") if text.endswith("any more")}
    yield "provider-gone", f"{provider.removesuffix('x')}{gone}"


def warnings() -> Iterator[str]:
    """Yield all that has words of its own and is logged as a warning or an error."""
    for tree in _SOURCES.values():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and ast.unparse(node.func.value) == "LOG"
                and node.func.attr in _LOUD
            ):
                text = _text(node.args[0])
                if text and text != "x":  # else it is another module's
                    yield text


def _texts(module: str) -> list[str]:
    docstring = ast.get_docstring(_SOURCES[module], clean=False)
    texts = map(_text, ast.walk(_SOURCES[module]))
    return [text for text in texts if text and text != docstring]


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sd]", "x", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "x" for part in node.values)
    return None
