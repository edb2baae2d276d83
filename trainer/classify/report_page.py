"""The plots of a classifier's report: confusion, calibration, F1 by label, the choice of C, and the curves of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainer.classify.calibration import Calibration
from trainer.classify.report import ClassifyReport
from trainer.reports.page import render, write_files
from trainer.reports.plots import Plot, dev_plot, loss_plot, short, tick
from trainer.reports.svg import COLOURS, drawing, figure, inline

MOST_LABELS = 20
"""Labels that a plot has room for; of more, the most frequent are drawn, and the table has all."""
DARKEST = 0.55
"""Opacity of a full cell: its figure stays readable in light and in dark."""


def classify_plots(report: ClassifyReport) -> list[Plot]:
    """Return the plots for which the report has data, in the order in which the page shows them."""
    drawn = [confusion_plot(report)] if report.confusion else [label_plot(report)]
    drawn.append(calibration_plot(report.calibration_before, report.calibration_after))
    if report.confusion and len(report.labels) > 2:
        drawn.append(label_plot(report))
    if report.tried:
        drawn.append(choice_plot(report))
    if report.curves.dev:
        drawn.append(dev_plot(report.curves))
    if report.curves.loss:
        drawn.append(loss_plot(report.curves))
    return drawn


def confusion_plot(report: ClassifyReport) -> Plot:
    """Draw which label was taken for which: a row of cells for every true label, as shares of its rows."""
    table = np.asarray(report.confusion)
    shown = _most_frequent(table.sum(axis=1))
    part, names = table[np.ix_(shown, shown)], [_short(report.labels[at]) for at in shown]
    size = len(shown)
    with drawing("confusion"):
        drawn = figure(max(2.7, 0.32 * size + 1.2))
        axes = drawn.add_subplot()
        rows = table.sum(axis=1)[shown]
        for (true, answer), count in np.ndenumerate(part):
            share = count / max(rows[true], 1)
            role = "base" if true == answer else "tuned"
            axes.fill(
                [answer - 0.48, answer + 0.48, answer + 0.48, answer - 0.48],
                [-true - 0.48, -true - 0.48, -true + 0.48, -true + 0.48],
                color=COLOURS[role],
                alpha=DARKEST * share**0.5,
                lw=0,
            )
            if count:
                text = f"{count:,}\n{share:.1%}" if size <= 8 else f"{count:,}"
                axes.text(answer, -true, text, ha="center", va="center", fontsize=9 if size <= 12 else 7)
        axes.set_xticks(range(size), names, rotation=0 if size <= 5 else 90)
        axes.set_yticks([-place for place in range(size)], names)
        axes.set_xlim(-0.5, size - 0.5)
        axes.set_ylim(0.5 - size, 0.5)
        axes.set_xlabel("answer")
        axes.set_ylabel("label in the file")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        right = int(np.trace(table))
        caption = f"{right:,} of {int(table.sum()):,} rows on the diagonal are right; shares are of the label's rows"
        if size < len(report.labels):
            caption += f"; the {size} most frequent of {len(report.labels)} labels"
        worst = "; ".join(
            f"{report.labels[true]} taken for {report.labels[answer]}: {table[true, answer]:,}"
            for true, answer in _largest_errors(table)
        )
        return _plot(drawn, "confusion", "Confusion matrix", caption, worst)


def calibration_plot(before: Calibration, after: Calibration) -> Plot:
    """Draw the share of right answers over the probability that was given, before and after calibration."""
    with drawing("calibration"):
        drawn = figure()
        axes = drawn.add_subplot()
        axes.plot([0, 1], [0, 1], "--", color=COLOURS["soft"], lw=0.9)
        for made, role, marker, name in ((before, "words", "s", "before"), (after, "tuned", "D", "after")):
            said, true = [each.said for each in made.bins], [each.true for each in made.bins]
            axes.plot(said, true, f"{marker}-", color=COLOURS[role], markersize=5, lw=1.4, label=name)
        axes.set_xlabel("probability")
        axes.set_ylabel("share that is right")
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
        axes.set_ylim(-0.04, 1.04)
        axes.grid()
        drawn.legend(loc="outside upper left", ncols=2, borderpad=0)
        caption = (
            f"Expected calibration error {short(before.ece)} before, {short(after.ece)} after; on the dashed line 0"
        )
        return _plot(drawn, "calibration", "Calibration of probabilities", caption)


def label_plot(report: ClassifyReport) -> Plot:
    """Draw the F1 of every label, the most frequent first."""
    shown = [report.per_label[at] for at in _most_frequent(np.array([each.rows for each in report.per_label]))]
    with drawing("labels"):
        drawn = figure(max(2.7, 0.24 * len(shown) + 1.0))
        axes = drawn.add_subplot()
        places = [-place for place in range(len(shown))]
        axes.barh(places, [each.f1 for each in shown], color=COLOURS["tuned"], height=0.6)
        axes.set_yticks(places, [f"{_short(each.label)} ({each.rows:,})" for each in shown])
        axes.set_xlim(0, 1)
        axes.set_xlabel("F1")
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        worst = min(shown, key=lambda each: each.f1)
        caption = (
            f"Labels with their rows, the most frequent first; the weakest is {worst.label} with {short(worst.f1)}"
        )
        figures = ", ".join(f"{each.label} {short(each.f1)}" for each in shown)
        return _plot(drawn, "labels", "F1 of each label", caption, figures)


def choice_plot(report: ClassifyReport) -> Plot:
    """Draw macro-F1 of the cross-validation over C."""
    best = max(report.tried, key=lambda each: each.macro_f1)
    with drawing("choice"):
        drawn = figure()
        axes = drawn.add_subplot()
        axes.plot(
            [each.c for each in report.tried],
            [each.macro_f1 for each in report.tried],
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
    """Return the places of the most frequent labels, in the order of the labels where there is room for all."""
    if len(rows) <= MOST_LABELS:
        return list(range(len(rows)))
    return [int(place) for place in np.argsort(-rows, kind="stable")[:MOST_LABELS]]


def _largest_errors(table: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> list[tuple[int, int]]:
    errors = table - np.diag(np.diag(table))
    order = np.argsort(-errors, axis=None, kind="stable")[:5]
    pairs = [(int(place) // len(table), int(place) % len(table)) for place in order]
    return [pair for pair in pairs if errors[pair]]


def _short(label: str) -> str:
    return label if len(label) <= 18 else label[:16] + " …"


def _plot(drawn: object, name: str, title: str, caption: str, more: str = "") -> Plot:
    return Plot(title, caption, inline(drawn, name, title, f"{caption}: {more}" if more else caption))  # type: ignore[arg-type]


def classify_page(report: ClassifyReport) -> str:
    """Return the page. Labels and texts enter it as text, never as markup."""
    return render(Path(__file__).with_name("classify_template.html"), classify_plots(report), report=report)


def write_classify_report(report: ClassifyReport, folder: Path) -> None:
    """Write ``report.json`` and ``report.html`` into ``folder``, each under its name once it is complete."""
    write_files(report, classify_page(report), folder)
