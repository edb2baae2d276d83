"""`trainer queries`: queries for every row of the training frame, by a language model or extracted from the texts.

    python -m trainer queries --llm http://localhost:11434/v1 --llm-model llama3
    python -m trainer queries

Answers of the model are journalled row by row beside the output. A second start asks only for rows without an answer. The
frame is written when all rows have one. The summary accounts for every row and every dropped query.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from indexer.errors import UserError
from indexer.index.terms.languages import detect_language
from indexer.inference.llm.openai_api import parse_endpoint
from indexer.progress import Bar
from trainer.data.frame import FrameRow, Pairs, choose_rows, fill_frame, read_rows, rows_of
from trainer.queries.llm.ask import Plan, QueryWriting
from trainer.queries.llm.journal import Entry
from trainer.queries.llm.parse import outcome
from trainer.queries.settings import QueriesSettings
from trainer.queries.summary import Summary

SAMPLE = 400
"""Texts, spread over the frame, by which its language is detected."""


def generate(
    frame: Path, settings: QueriesSettings, out: Path | None = None, documents: Collection[str] | None = None
) -> Summary:
    """Fill the query columns of a frame and return the summary; both are written beside each other.

    Args:
        frame: Parquet with id, document, title and text.
        settings: language model, kinds and number of queries; without a model, queries are extracted from the texts.
        out: the filled frame, by default ``queries.parquet`` beside the frame; ``*.journal.jsonl`` and
            ``*.summary.json`` have the same name.
        documents: ids of the documents that get queries, in place of ``limit_documents``.

    Raises:
        UserError: the frame is invalid, the model cannot be reached, or rows have no answer. In the last case summary and
            journal are written, the filled frame is not, and another call continues.
    """
    started = time.monotonic()
    out = out or frame.with_name("queries.parquet")
    served = check_model(settings.llm, settings.llm_model, settings.llm_path)
    chosen = (
        rows_of(frame, documents)
        if documents is not None
        else choose_rows(frame, settings.limit_documents, settings.seed)
    )
    plan = Plan(frame, out, chosen, _check(frame, len(chosen)))
    summary = Summary(source="extracts", rows=len(chosen), chosen=int(chosen.sum()))
    if not served and not settings.llm_path:
        _extract(plan, settings, summary)
        summary.report(out, started)
        return summary
    writing = QueryWriting(plan, settings, summary)
    try:
        writing.run()
    except KeyboardInterrupt:
        summary.report(out, started)
        raise
    summary.report(out, started)
    writing.refuse_missing()
    return summary


def check_model(llm: str | None, llm_model: str | None, llm_path: str | None) -> bool:
    """Check how a language model is named, and return whether it is behind an endpoint.

    Raises:
        UserError: two models are named, the URL is none, or the directory holds no model.
    """
    served = bool(llm or llm_model)
    if served and llm_path:
        raise UserError("--llm-path: a model is named by --llm or --llm-model too; give one of them")
    if llm:
        parse_endpoint(llm)
    if llm_path and not (Path(llm_path) / "config.json").is_file():
        raise UserError(f"--llm-path {llm_path}: no config.json there; give a directory in transformers' format")
    return served


def _extract(plan: Plan, settings: QueriesSettings, summary: Summary) -> None:
    """Fill the frame with queries that are extracted from the texts."""
    from trainer.queries.extract import extract

    def fill(rows: list[FrameRow]) -> list[Pairs]:
        chosen = [row for row in rows if plan.chosen[row.number]]
        titles, texts = [row.title for row in chosen], [row.text for row in chosen]
        extracted = iter(extract(titles, texts, settings.count, plan.language, settings.seed))
        pairs = [next(extracted) if plan.chosen[row.number] else [] for row in rows]
        for row, queries in zip(rows, pairs, strict=True):
            if plan.chosen[row.number]:
                summary.count(
                    Entry(row.id, "", outcome(len(queries), settings.count), [list(pair) for pair in queries])
                )
        summary.asked += len(chosen)
        bar.advance(len(chosen))
        return pairs

    with Bar("queries", summary.chosen, "rows") as bar:
        fill_frame(plan.frame, plan.out, fill)


def _check(frame: Path, rows: int) -> str:
    """Check all rows, and return the language of most texts.

    Raises:
        UserError: an id occurs twice, a row lacks id, document or text, or there are no rows.
    """
    seen: set[str] = set()
    sample: list[str] = []
    every = max(1, rows // SAMPLE)
    for row in read_rows(frame):
        if row.id in seen:
            raise UserError(f"{frame} row {row.number + 1}: id {row.id!r} occurs twice; correct the frame")
        seen.add(row.id)
        if row.number % every == 0:
            sample.append(row.text)
    if not seen:
        raise UserError(f"{frame}: holds no rows; give a frame with at least one")
    return detect_language(sample)
