# SPDX-License-Identifier: Apache-2.0

"""XML that is well-formed and of the right words, grown from any bytes.

Mutated bytes alone seldom get past an XML parser. This gets every input past it,
so that what comes after is looked at as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax import saxutils  # nosec B406  # it writes XML

from fuzz.source import Source

_STEPS = 300
_ODD = ("<!-- -->", "<?a b?>", "<![CDATA[1]]>", "&#10;", "&lt;", " ", "\n", "\u00e9")


class Grammar:
    """Which elements stand in which, and the words of attributes and texts.

    :param root: the document's element.
    :param children: by element; an element without an entry holds texts alone.
    """

    def __init__(
        self,
        root: str,
        children: Mapping[str, Sequence[str]],
        attributes: Sequence[str],
        values: Sequence[str],
    ) -> None:
        self._root = root
        self._children = children
        self._attributes = attributes
        self._values = values

    def grow(self, source: Source) -> str:
        """Return a document. The bytes are read as steps from element to element."""
        root = source.choose((self._root,) * 15 + ("other",))
        stack, parts = [root], [f"<{root}"]
        # The attributes of the element whose tag is still open; None of none.
        written: set[str] | None = set()
        for _ in range(_STEPS):
            if source.empty:
                break
            step = source.byte() % 8
            if step in (0, 1) and written is not None:
                name = source.choose(self._attributes)
                if name not in written:
                    written.add(name)
                    value = saxutils.quoteattr(_plain(source.word(self._values)))
                    parts.append(f" {name}={value}")
                continue
            parts.append(">" if written is not None else "")
            written = None
            children = self._children.get(stack[-1], ())
            if step in (2, 3, 4) and children:
                stack.append(source.choose(children))
                parts.append(f"<{stack[-1]}")
                written = set()
            elif step == 5 and len(stack) > 1:
                parts.append(f"</{stack.pop()}>")
            elif step == 6:
                parts.append(source.choose(_ODD))
            else:
                parts.append(saxutils.escape(_plain(source.word(self._values))))
        parts.append(">" if written is not None else "")
        parts += [f"</{name}>" for name in reversed(stack)]
        return "".join(parts)


def _plain(text: str) -> str:
    """Leave out what XML cannot hold."""
    return "".join(c for c in text if c.isprintable())
