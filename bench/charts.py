"""Charts of docs/experiments/scale.md, drawn from what bench/scale.py has measured.

python bench/charts.py [--csv docs/experiments/scale.csv] [--out docs/images]

It needs matplotlib, which the development environment has.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams |= {"svg.hashsalt": "dowse", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}

from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

ROOT = Path(__file__).parents[1]
Curves = dict[int, dict[str, list[dict[str, float]]]]
"""By number of vectors and kind: bytes, effort, recall and milliseconds of each point."""


def read(path: Path) -> Curves:
    """Return the measured points."""
    curves: Curves = defaultdict(lambda: defaultdict(list))
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kind = row.pop("kind")
            curves[int(row["vectors"])][kind].append({name: float(value) for name, value in row.items()})
    return curves


def draw_recall(curves: Curves, path: Path) -> None:
    """Draw recall against time, a panel for each number of vectors and a line for each kind."""
    figure, panels = plt.subplots(
        1, len(curves), figsize=(4.2 * len(curves), 3.2), sharex=True, sharey=True, squeeze=False
    )
    colours = {
        kind: f"C{number}" for number, kind in enumerate(sorted({kind for each in curves.values() for kind in each}))
    }
    for panel, (vectors, kinds) in zip(panels[0], sorted(curves.items()), strict=True):
        for kind, points in sorted(kinds.items()):
            times, recalls = ([point[name] for point in points] for name in ("milliseconds", "recall"))
            panel.plot(
                times,
                recalls,
                marker="o",
                markersize=3,
                color=colours[kind],
                label=f"{kind}, {points[0]['bytes']:.0f} bytes",
            )
        panel.set(title=f"{vectors:,} vectors", xlabel="ms of processor time a query", xscale="log", ylim=(0.8, 1.003))
        panel.axhline(0.98, color="grey", linewidth=0.8, linestyle=":")
        panel.legend(fontsize=7, loc="lower right")
    panels[0][0].xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5]))
    panels[0][0].xaxis.set_minor_locator(NullLocator())
    panels[0][0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panels[0][0].set_ylabel("recall of the ten nearest")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, default=ROOT / "docs/experiments/scale.csv")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images")
    arguments = parser.parse_args()
    draw_recall(read(arguments.csv), arguments.out / "recall.svg")


if __name__ == "__main__":
    main()
