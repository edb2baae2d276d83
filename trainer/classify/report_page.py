"""Report page of a classifier: confusion matrix, calibration, F1 per label, the choice of C, and the training curves.

`report.html` is one page that needs no other file, no network and no script.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainer.classify.report import ClassifyReport
from trainer.evaluate.reliability import Calibration
from trainer.reports.page import render, write_files
from trainer.reports.plots import Curve, Plot, dev_plot, loss_plot, reliability_plot, short, tick
from trainer.reports.svg import COLOURS, drawing, figure, inline

MAX_LABELS = 20
"""Labels in a plot; of more labels the most frequent are drawn, while the table has all."""
MAX_OPACITY = 0.55
"""Opacity of a full cell; its number stays readable in light and in dark mode."""


def draw_plots(report: ClassifyReport) -> list[Plot]:
    """Return the plots for which the report has data, in the order of the page."""
    plots = [draw_confusion(report)] if report.confusion else [draw_labels(report)]
    plots.append(draw_calibration(report.calibration_before, report.calibration_after))
    if report.confusion and len(report.labels) > 2:
        plots.append(draw_labels(report))
    if report.tried:
        plots.append(draw_choice(report))
    if report.curves.dev:
        plots.append(dev_plot(report.curves))
    if report.curves.loss:
        plots.append(loss_plot(report.curves))
    return plots


def draw_confusion(report: ClassifyReport) -> Plot:
    """Draw the confusion matrix: a row of cells for every true label, as shares of its rows."""
    matrix = np.asarray(report.confusion)
    shown = _most_frequent(matrix.sum(axis=1))
    cells, names = matrix[np.ix_(shown, shown)], [_shorten(report.labels[index]) for index in shown]
    size = len(shown)
    with drawing("confusion"):
        drawn = figure(max(2.7, 0.32 * size + 1.2))
        axes = drawn.add_subplot()
        rows = matrix.sum(axis=1)[shown]
        for (true, answer), count in np.ndenumerate(cells):
            share = count / max(rows[true], 1)
            role = "base" if true == answer else "tuned"
            axes.fill(
                [answer - 0.48, answer + 0.48, answer + 0.48, answer - 0.48],
                [-true - 0.48, -true - 0.48, -true + 0.48, -true + 0.48],
                color=COLOURS[role],
                alpha=MAX_OPACITY * share**0.5,
                lw=0,
            )
            if count:
                text = f"{count:,}\n{share:.1%}" if size <= 8 else f"{count:,}"
                axes.text(answer, -true, text, ha="center", va="center", fontsize=9 if size <= 12 else 7)
        axes.set_xticks(range(size), names, rotation=0 if size <= 5 else 90)
        axes.set_yticks([-row for row in range(size)], names)
        axes.set_xlim(-0.5, size - 0.5)
        axes.set_ylim(0.5 - size, 0.5)
        axes.set_xlabel("answer")
        axes.set_ylabel("label in the file")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        right = int(np.trace(matrix))
        caption = f"{right:,} of {int(matrix.sum()):,} rows are right (diagonal); shares are of the label's rows"
        if size < len(report.labels):
            caption += f"; the {size} most frequent of {len(report.labels)} labels"
        worst = "; ".join(
            f"{report.labels[true]} taken for {report.labels[answer]}: {matrix[true, answer]:,}"
            for true, answer in _largest_errors(matrix)
        )
        return _plot(drawn, "confusion", "Confusion matrix", caption, worst)


def draw_calibration(before: Calibration, after: Calibration) -> Plot:
    """Draw the reliability diagram: the share of right answers over the probability, before and after calibration."""
    caption = f"Expected calibration error {short(before.ece)} before, {short(after.ece)} after; 0 on the dashed line"
    curves = [Curve(before, "words", "s", "before"), Curve(after, "tuned", "D", "after")]
    return reliability_plot("calibration", "Calibration of probabilities", caption, curves)


def draw_labels(report: ClassifyReport) -> Plot:
    """Draw the F1 of every label, the most frequent first."""
    shown = [report.per_label[index] for index in _most_frequent(np.array([label.rows for label in report.per_label]))]
    with drawing("labels"):
        drawn = figure(max(2.7, 0.24 * len(shown) + 1.0))
        axes = drawn.add_subplot()
        heights = [-row for row in range(len(shown))]
        axes.barh(heights, [metrics.f1 for metrics in shown], color=COLOURS["tuned"], height=0.6)
        axes.set_yticks(heights, [f"{_shorten(metrics.label)} ({metrics.rows:,})" for metrics in shown])
        axes.set_xlim(0, 1)
        axes.set_xlabel("F1")
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        worst = min(shown, key=lambda metrics: metrics.f1)
        caption = (
            f"Labels with their rows, the most frequent first; the weakest is {worst.label} with {short(worst.f1)}"
        )
        figures = ", ".join(f"{metrics.label} {short(metrics.f1)}" for metrics in shown)
        return _plot(drawn, "labels", "F1 of each label", caption, figures)


def draw_choice(report: ClassifyReport) -> Plot:
    """Draw macro-F1 of the cross-validation over C."""
    best = max(report.tried, key=lambda point: point.macro_f1)
    with drawing("choice"):
        drawn = figure()
        axes = drawn.add_subplot()
        axes.plot(
            [point.c for point in report.tried],
            [point.macro_f1 for point in report.tried],
            "D-",
            color=COLOURS["tuned"],
            markersize=5,
            lw=1.6,
        )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("C")
        axes.set_ylabel("macro-F1")
        axes.grid(axis="y")
        caption = f"C = {best.c:g} is best in the cross-validation, with {short(best.macro_f1)}"
        return _plot(drawn, "choice", "Choice of C", caption)


def _most_frequent(rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[int]:
    """Return the indices of the most frequent labels; of all labels, in their own order, where they fit."""
    if len(rows) <= MAX_LABELS:
        return list(range(len(rows)))
    return [int(index) for index in np.argsort(-rows, kind="stable")[:MAX_LABELS]]


def _largest_errors(matrix: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> list[tuple[int, int]]:
    """Return the largest off-diagonal cells of the confusion matrix, at most five."""
    errors = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-errors, axis=None, kind="stable")[:5]
    pairs = [(int(cell) // len(matrix), int(cell) % len(matrix)) for cell in order]
    return [pair for pair in pairs if errors[pair]]


def _shorten(label: str) -> str:
    return label if len(label) <= 18 else label[:16] + " …"


def _plot(drawn: object, name: str, title: str, caption: str, more: str = "") -> Plot:
    return Plot(title, caption, inline(drawn, name, title, f"{caption}: {more}" if more else caption))  # type: ignore[arg-type]


def render_page(report: ClassifyReport) -> str:
    """Return the page. Labels and texts are inserted as text, never as markup."""
    return render(Path(__file__).with_name("classify_template.html"), draw_plots(report), report=report)


def write_classify_report(report: ClassifyReport, folder: Path) -> None:
    """Write ``report.json`` and ``report.html`` into ``folder``, each completely or not at all."""
    write_files(report, render_page(report), folder)
