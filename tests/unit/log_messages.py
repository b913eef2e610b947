# SPDX-License-Identifier: Apache-2.0
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
    "tolerated": ("admission", "Starting the guest"),
    "audit-stops": ("audit", "Audit: powering"),
    "audit-unknown": ("audit", "Audit: cannot determine"),
    "audit-nobody": ("audit", "Audit failed"),
    "taken-away": ("encryption_removed", "The re"),
    "holders": ("slot_consumers", "Cannot count"),
    "image-kept": ("failed_rebuilds", "The rebuild failed"),
    "flavor-kept": ("refused_resizes", "The resize was"),
    "leftover": ("failed_builds", "Cannot power off"),
    "leftover-ended": ("failed_builds", "Powered off"),
    "tolerated-at-start": ("startup_check", "The guest may start"),
    "start-unknown": ("startup_check", "Cannot determine which"),
    "not-started": ("startup_check", "The guest cannot"),
    "not-started-unknown": ("startup_check", "Cannot determine whether"),
    "host-trait": ("admission", "Stock Nova would"),
    "prepared": ("startup_check", "This host is prepared"),
    "prepared-server": ("startup_check", "Stock Nova would"),
    "support-at-start": ("startup_check", "Server x"),
}
_PACKAGE = pathlib.Path(sev_driver.__file__).parent
_SOURCES = {
    path.stem: ast.parse(path.read_text())
    for path in _PACKAGE.rglob("*.py")
    if path.relative_to(_PACKAGE).parts[0] not in {"doctor", "cmd"}
    and path.name != "__init__.py"
}
_LOUD = ("warning", "error", "exception")


def examples() -> Iterator[tuple[str, str]]:
    """Yield label and text."""
    for label, (module, beginning) in LABELS.items():
        texts = [text for text in _texts(module) if text.startswith(beginning)]
        assert texts, f"{module} says nothing that begins with {beginning!r}"
        yield from ((label, text) for text in texts)
    (provider,) = {
        text for text in _texts("provider_plan") if text == "Resource provider x: x"
    }
    (gone,) = {
        text for text in _texts("provider_plan") if text.endswith("slots removed")
    }
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
