# SPDX-License-Identifier: Apache-2.0
"""How many encrypted guests fit, by their size: the plot of capacity.rst."""

import capacity
from matplotlib import pyplot, ticker

SIZES = [256 * step for step in range(1, 4 * 128 + 1)]
COLOURS = ("#0072b2", "#d55e00", "#009e73")

figure, axes = pyplot.subplots(figsize=(7.2, 4.2), layout="constrained")
for server, colour in zip(capacity.SERVERS, COLOURS, strict=True):
    counts = [server.fits(size) for size in SIZES]
    gib = [size / 1024 for size in SIZES]
    label = f"{server.name}: {server.slots} slots, {server.total_mib // 1024} GiB"
    axes.plot(gib, counts, color=colour, linewidth=2, label=label)
    turning = server.turning_mib / 1024
    axes.plot(turning, server.slots, "o", color=colour)
    axes.annotate(
        f"{turning:.1f} GiB",
        (turning, server.slots),
        xytext=(6, 6),
        textcoords="offset points",
        color=colour,
    )
axes.set_xscale("log", base=2)
axes.set_yscale("log")
axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
axes.set_xlabel("RAM of a guest, GiB")
axes.set_ylabel("encrypted guests at the same time")
axes.set_ylim(1, 3000)
axes.grid(True, which="major", color="#dddddd")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(loc="lower left", frameon=False)
