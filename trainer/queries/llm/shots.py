"""Examples for a model without instruction tuning, made from the corpus: texts with queries for them.

Nobody has written queries yet, so title, key words and a short sentence of a text stand for them. The sentence is taken out
of the text, so that the model does not learn to copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from indexer.build.weights.inverse_cloze import make_clozes
from trainer.data.frame import FrameRow, Mask, read_rows
from trainer.queries.extract import extract
from trainer.queries.llm.prompts import Shot

SAMPLE = 200
"""Rows from which shots are made, spread over the chosen ones."""
MAX_SHOTS = 24
MAX_WORDS = 14
"""Words of a sentence or a title that can stand for a query."""
MIN_QUERIES = 2
"""Queries of a shot, at least: one alone teaches the model to write one."""


def corpus_shots(frame: Path, chosen: Mask, language: str, seed: int) -> tuple[Shot, ...]:
    """Return shots from a sample of the chosen rows of a frame; fewer where texts are short or have no titles."""
    every = max(1, int(chosen.sum()) // SAMPLE)
    rows = [row for number, row in enumerate(read_rows(frame, chosen)) if number % every == 0][:SAMPLE]
    return make_shots(rows, language, seed)


def make_shots(rows: Sequence[FrameRow], language: str, seed: int) -> tuple[Shot, ...]:
    """Return up to `MAX_SHOTS` shots, those with most kinds of queries first."""
    texts = [row.text for row in rows]
    clozes = {cloze.row: cloze for cloze in make_clozes(texts, len(texts), seed)}
    keywords = extract([None] * len(rows), texts, 2, language, seed)
    shots: list[Shot] = []
    for number, row in enumerate(rows):
        cloze = clozes.get(number)
        candidates = [row.title or "", *(query for kind, query in keywords[number] if kind == "keywords")]
        candidates.append(cloze.sentence if cloze else "")
        queries = tuple(dict.fromkeys(query for query in candidates if 1 < len(query.split()) <= MAX_WORDS))
        if len(queries) >= MIN_QUERIES:
            shots.append(Shot(cloze.rest if cloze and cloze.sentence in queries else row.text, queries))
    return tuple(sorted(shots, key=lambda shot: -len(shot.queries))[:MAX_SHOTS])
