# SPDX-License-Identifier: Apache-2.0
"""Draw what a command prints on a terminal as an SVG picture.

``make demo > demo.txt; python doc/terminal_picture.py demo.txt OUT.svg`` writes the
README's picture: the encrypted guest as libvirt runs it, its slot in Placement, and its
devices as its Linux sees them.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

LINE = 18
CHARACTER = 8.4
MARGIN = 16
#: What is left out: the demo's own waiting and tables that say little.
SECTIONS = ("4.", "5.", "6.", "7.")
TEXT, COMMAND, TITLE, CHECK = "#d0d0d0", "#ffffff", "#7aa2f7", "#9ece6a"


def main(argv: Sequence[str]) -> int:
    source, target = argv
    lines = list(wanted(Path(source).read_text().splitlines()))
    Path(target).write_text(draw(["$ make demo", "...", *lines, "..."]))
    return 0


def wanted(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of the sections that the picture shows, shortened to fit."""
    inside = False
    for line in lines:
        if line.startswith("["):
            inside = line.partition("] ")[2].startswith(SECTIONS)
        if inside and "qemu-img" not in line:
            yield line.partition(" -c name")[0]


def draw(lines: Sequence[str]) -> str:
    """Return the picture of a terminal that shows ``lines``."""
    width = round(2 * MARGIN + CHARACTER * max(map(len, lines)))
    height = 2 * MARGIN + LINE * len(lines)
    rows = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + LINE * (number + 0.8):.0f}" '
        f'fill="{colour(line)}" xml:space="preserve">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="DejaVu Sans Mono, Menlo, '
        f'Consolas, monospace" font-size="14">\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="#1a1b26"/>\n'
        f"{rows}\n</svg>\n"
    )


def colour(line: str) -> str:
    """Return the colour of a line by what it is."""
    stripped = line.strip()
    if stripped.startswith("$"):
        return COMMAND
    if line.startswith("["):
        return TITLE
    return CHECK if stripped.startswith("=>") else TEXT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
