"""Report page of a pre-training: plots of losses and accuracies over the tokens seen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from trainer.pretrain.report import PretrainReport
from trainer.reports.page import render, write_files
from trainer.reports.plots import Plot, tick
from trainer.reports.svg import COLOURS, drawing, figure, inline


def draw_plots(report: PretrainReport) -> list[Plot]:
    """Return the plots for which the report has data."""
    if not report.held_out:
        return []
    plots = [draw_mlm_loss(report), draw_mlm_accuracy(report)]
    if report.result.nsp_loss is not None:
        plots += [draw_nsp_loss(report), draw_nsp_accuracy(report)]
    return plots


def draw_mlm_loss(report: PretrainReport) -> Plot:
    """Draw the MLM loss in training and on held-out documents, and the loss of the unigram distribution."""
    points = report.held_out
    seen = [point.tokens for point in points]
    with drawing("mlm-loss"):
        drawn, axes = _axes("tokens seen", "loss, nats")
        axes.plot(
            [loss.tokens for loss in report.losses], [loss.mlm for loss in report.losses],
            color=COLOURS["base"], lw=0.8, alpha=0.6, label="training",
        )  # fmt: skip
        axes.plot(
            seen, [point.figures.masked_loss for point in points], "s--", **_line("words", "held out, [MASK] only")
        )
        axes.plot(seen, [point.figures.mlm_loss for point in points], "D-", **_line("tuned", "held out"))
        axes.axhline(report.result.unigram_loss, color=COLOURS["ink"], lw=1, ls=":", label="unigrams")
        drawn.legend(loc="outside upper left", ncols=2, borderpad=0)
        caption = (
            f"held out, at the end: {report.result.mlm_loss:.3f}, {report.gain:.3f} below the unigram distribution; "
            f"where [MASK] stands {report.masked_gain:.3f}"
        )
        return _plot(drawn, "mlm-loss", "Masked words: loss", caption)


def draw_mlm_accuracy(report: PretrainReport) -> Plot:
    """Draw the MLM accuracy: how often the most probable piece is the right one."""
    points = report.held_out
    seen = [point.tokens for point in points]
    with drawing("mlm-accuracy"):
        drawn, axes = _axes("tokens seen", "accuracy")
        axes.plot(seen, [point.figures.masked_accuracy for point in points], "s--", **_line("words", "[MASK] only"))
        axes.plot(
            seen, [point.figures.mlm_accuracy for point in points], "D-", **_line("tuned", "all chosen positions")
        )
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        drawn.legend(loc="outside upper left", ncols=2, borderpad=0)
        caption = (
            f"at the end: {report.result.mlm_accuracy:.3f}, where [MASK] stands {report.result.masked_accuracy:.3f}"
        )
        return _plot(drawn, "mlm-accuracy", "Masked words: accuracy", caption)


def draw_nsp_loss(report: PretrainReport) -> Plot:
    """Draw the NSP loss, and that of chance."""
    points = report.held_out
    with drawing("nsp-loss"):
        drawn, axes = _axes("tokens seen", "loss, nats")
        losses = [loss for loss in report.losses if loss.nsp is not None]
        axes.plot(
            [loss.tokens for loss in losses], [_or_nan(loss.nsp) for loss in losses],
            color=COLOURS["base"], lw=0.8, alpha=0.6, label="training",
        )  # fmt: skip
        values = [_or_nan(point.figures.nsp_loss) for point in points]
        axes.plot([point.tokens for point in points], values, "D-", **_line("tuned", "held out"))
        axes.axhline(math.log(2), color=COLOURS["ink"], lw=1, ls=":", label="chance")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        drawn.legend(loc="outside upper left", ncols=3, borderpad=0)
        return _plot(drawn, "nsp-loss", "Next sentence: loss", f"held out, at the end: {report.result.nsp_loss:.3f}")


def draw_nsp_accuracy(report: PretrainReport) -> Plot:
    """Draw the NSP accuracy, and that of chance."""
    points = report.held_out
    with drawing("nsp-accuracy"):
        drawn, axes = _axes("tokens seen", "accuracy")
        values = [_or_nan(point.figures.nsp_accuracy) for point in points]
        axes.plot([point.tokens for point in points], values, "D-", **_line("tuned", "held out"))
        axes.axhline(0.5, color=COLOURS["ink"], lw=1, ls=":", label="chance")
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        drawn.legend(loc="outside upper left", ncols=2, borderpad=0)
        caption = f"held out, at the end: {report.result.nsp_accuracy:.3f} of {report.result.examples:,} examples"
        return _plot(drawn, "nsp-accuracy", "Next sentence: accuracy", caption)


def _or_nan(number: float | None) -> float:
    return math.nan if number is None else number


def _line(role: str, label: str) -> dict[str, Any]:
    return {"color": COLOURS[role], "markersize": 4, "lw": 1.6, "label": label}


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    drawn = figure()
    axes = drawn.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.xaxis.set_major_formatter(FuncFormatter(_format_count))
    axes.grid(axis="y")
    return drawn, axes


def _format_count(value: float, _: object = None) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.0f}"


def _plot(drawn: Figure, name: str, title: str, caption: str) -> Plot:
    return Plot(title, caption, inline(drawn, name, title, caption))


def render_page(report: PretrainReport) -> str:
    """Return the report as one HTML page that needs no other file, no network and no script."""
    return render(
        Path(__file__).with_name("pretrain_template.html"),
        draw_plots(report),
        report=report,
        start=report.held_out[0].figures if report.held_out else None,
        chance_loss=math.log(2),
    )


def write_pretrain_report(report: PretrainReport, folder: Path) -> None:
    """Write ``report.json`` and ``report.html`` into ``folder``, each completely or not at all."""
    write_files(report, render_page(report), folder)
