"""Plots of a report: metrics with intervals, change per query, separation of scores, loss and dev curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainer.evaluate.metrics import METRICS
from trainer.evaluate.reliability import Calibration
from trainer.evaluate.report import SYSTEMS, Curves, Leg, Report, Separation, Which
from trainer.reports.svg import COLOURS, drawing, figure, inline

MAX_BARS = 400
"""Queries that are drawn as bars; of more queries, evenly spaced ones are drawn, which give the same shape."""

STYLES = {"base": ("base", "o"), "tuned": ("tuned", "D"), "BM25": ("words", "s")}
"""First word of a system's name → role of its colour, and its marker: colour is never the only distinction."""


@dataclass(frozen=True)
class Curve:
    """A curve of a reliability diagram: its bins, the role of its colour, its marker, and its label in the legend."""

    bins: Calibration
    role: str
    marker: str
    label: str


@dataclass(frozen=True)
class Plot:
    """A plot of the page. Its SVG has a description for screen readers, with figures that the caption leaves out."""

    title: str
    caption: str
    svg: str


def short(value: float) -> str:
    """Format a metric as tables of the field do: ``.291``, ``1.000``, ``−.006``."""
    text = f"{abs(value):.3f}".removeprefix("0")
    return ("−" if value < 0 and text != ".000" else "") + text


def tick(value: float, _: object = None) -> str:
    """Format a number on an axis: as few decimals as it needs, without the leading zero."""
    text = f"{abs(value):.3f}".rstrip("0").rstrip(".").removeprefix("0") or "0"
    return ("−" if value < 0 and text != "0" else "") + text


def plots(report: Report) -> list[Plot]:
    """Return the plots for which the report has data, in the order in which the page shows them."""
    drawn = [measure_plot(report, name) for name in METRICS]
    if report.curves.dev:
        drawn.append(dev_plot(report.curves))
    drawn += [change_plot(values, leg) for leg, values in report.changes.items() if values]
    names: dict[Which, str] = {"base": report.base.name, "tuned": report.tuned.name}
    drawn += [separation_plot(report.separation, which, names[which]) for which in report.separation]
    if report.relevance:
        drawn.append(relevance_plot(report.relevance))
    if report.curves.loss:
        drawn.append(loss_plot(report.curves))
    return drawn


def measure_plot(report: Report, measure: str) -> Plot:
    """Draw mean and interval of every system in one metric, over the deciding group of queries."""
    group = report.deciding
    systems = [name for name in SYSTEMS if name in group.systems]
    name = measure.lower().replace("@", "-at-")
    with drawing(name):
        drawn, axes = _axes()
        for position, system in enumerate(systems):
            summary = group.systems[system][measure]
            role, marker = STYLES[system.partition(" ")[0]]
            spread = [[summary.mean - summary.low], [summary.high - summary.mean]]
            axes.errorbar(
                summary.mean, -position, xerr=spread, fmt=marker, color=COLOURS[role], capsize=3, markersize=6, lw=1.6
            )
            axes.annotate(
                short(summary.mean),
                (summary.mean, -position),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        axes.set_yticks([-position for position in range(len(systems))], systems)
        axes.set_ylim(0.6 - len(systems), 0.7)
        axes.set_xlabel(measure)
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], min_n_ticks=2))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        means = ", ".join(f"{system} {short(group.systems[system][measure].mean)}" for system in systems)
        caption = f"Mean and 95 % interval over the {group.queries:,} queries that decide"
        return _plot(drawn, name, measure, caption, means)


def change_plot(changes: Sequence[float], leg: Leg) -> Plot:
    """Draw the change of nDCG@10 of every query, sorted."""
    values = np.sort(np.asarray(changes))[::-1]
    gained, lost = int((values > 0).sum()), int((values < 0).sum())
    name = f"change-{leg}"
    with drawing(name):
        drawn, axes = _axes()
        shown = values[np.linspace(0, len(values) - 1, min(len(values), MAX_BARS)).round().astype(int)]
        edges = np.linspace(0, len(values), len(shown) + 1)
        for role, part in (("tuned", shown.clip(min=0)), ("base", shown.clip(max=0))):
            axes.stairs(part, edges, fill=True, color=COLOURS[role])
        axes.axhline(0, color=COLOURS["soft"], lw=0.8)
        axes.set_xlabel("queries, sorted by change")
        axes.set_ylabel(f"change of {leg} nDCG@10")
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        axes.set_xlim(0, len(values))
        axes.grid(axis="y")
        same = len(values) - gained - lost
        caption = f"{gained:,} of {len(values):,} queries gained, {lost:,} lost, {same:,} stayed as they were"
        return _plot(drawn, name, f"Change per query, {leg}", caption)


def separation_plot(histograms: Mapping[Which, Separation], which: Which, label: str) -> Plot:
    """Draw the cosines of relevant documents and of the best irrelevant ones as histograms, for one model."""
    histogram = histograms[which]
    edges = np.asarray(histogram.edges)
    centres = (edges[1:] + edges[:-1]) / 2
    shares = {
        kind: np.asarray(getattr(histogram, kind)) / max(sum(getattr(histogram, kind)), 1)
        for kind in ("relevant", "irrelevant")
    }
    name = f"separation-{which}"
    with drawing(name):
        drawn, axes = _axes()
        axes.stairs(shares["irrelevant"], edges, fill=True, color=COLOURS["words"], alpha=0.45, label="best irrelevant")
        axes.stairs(shares["relevant"], edges, color=COLOURS["tuned"], lw=2, label="relevant")
        axes.set_xlim(  # the same for both models, which makes their plots comparable
            min(other.edges[0] for other in histograms.values()), max(other.edges[-1] for other in histograms.values())
        )
        axes.set_xlabel("cosine of query and document")
        axes.set_ylabel("share of documents")
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        drawn.legend(loc="outside upper left", ncols=2, borderpad=0)
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        means = {kind: float(share @ centres) for kind, share in shares.items()}
        caption = (
            f"{label}: mean cosine of relevant documents {short(means['relevant'])}, "
            f"of each query's best irrelevant one {short(means['irrelevant'])}"
        )
        return _plot(drawn, name, f"Separation of scores, {which}", caption)


def reliability_plot(name: str, title: str, caption: str, curves: Sequence[Curve]) -> Plot:
    """Draw the reliability diagram: the share that is right over the probability, in bins."""
    with drawing(name):
        drawn, axes = _axes()
        axes.plot([0, 1], [0, 1], "--", color=COLOURS["soft"], lw=0.9)
        for curve in curves:
            said, true = [part.said for part in curve.bins.bins], [part.true for part in curve.bins.bins]
            axes.plot(
                said, true, f"{curve.marker}-", color=COLOURS[curve.role], markersize=5, lw=1.4, label=curve.label
            )
        axes.set_xlabel("probability")
        axes.set_ylabel("share that is right")
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        axes.set_ylim(-0.04, 1.04)
        axes.grid()
        if len(curves) > 1:
            drawn.legend(loc="outside upper left", ncols=len(curves), borderpad=0)
        return _plot(drawn, name, title, caption)


def relevance_plot(reliability: Calibration) -> Plot:
    """Draw how often first results are right, by the relevance that a search would say."""
    caption = (
        f"First results of {sum(part.rows for part in reliability.bins):,} test queries by their relevance: "
        f"expected calibration error {short(reliability.ece)}; 0 on the dashed line"
    )
    curve = Curve(reliability, "tuned", "D", "tuned")
    return reliability_plot("relevance", "Calibration of relevance, hybrid", caption, [curve])


def loss_plot(curves: Curves) -> Plot:
    """Draw the training loss over the steps."""
    points = curves.loss
    with drawing("loss"):
        drawn, axes = _axes()
        axes.plot([point.step for point in points], [point.loss for point in points], color=COLOURS["tuned"], lw=1.6)
        axes.set_xlabel("step")
        axes.set_ylabel("training loss")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(axis="y")
        first, last = points[0], points[-1]
        caption = f"{first.loss:.3f} at step {first.step:,}, {last.loss:.3f} at step {last.step:,}"
        return _plot(drawn, "loss", "Training loss", caption)


def dev_plot(curves: Curves) -> Plot:
    """Draw the score on dev after every step or rung at which it was measured."""
    points = curves.dev
    positions = list(range(len(points)))
    with drawing("dev"):
        drawn, axes = _axes()
        axes.plot(positions, [point.value for point in points], "D-", color=COLOURS["tuned"], markersize=5, lw=1.6)
        every = -(-len(points) // 6)
        axes.set_xticks(positions[::every], [_label(point.at) for point in points[::every]])
        axes.set_xlabel("step" if isinstance(points[-1].at, int) else "rung")
        axes.set_ylabel(f"{_label(curves.dev_measure)} on dev")
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        axes.margins(x=0.12)
        axes.grid(axis="y")
        caption = " → ".join(f"{short(point.value)} ({point.at})" for point in (points[0], points[-1]))
        return _plot(drawn, "dev", f"{curves.dev_measure} on the dev split", caption)


def _axes() -> tuple[Figure, Axes]:
    drawn = figure()
    return drawn, drawn.add_subplot()


def _label(name: str | int) -> str:
    """Return a name that fits at an axis, cut if it is long; the page's tables have the full name."""
    text = str(name)
    return text if len(text) <= 20 else text[:18] + " …"


def _plot(drawn: Figure, name: str, title: str, caption: str, figures: str = "") -> Plot:
    description = f"{caption}: {figures}" if figures else caption
    return Plot(title, caption, inline(drawn, name, title, description))
