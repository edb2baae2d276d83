"""Exam questions without labels, about documents that were held out.

Two kinds, because either alone can be fooled. *Key words* of a document, which it still contains: they show whether the
encoder tells the documents of this corpus apart better than before. *Half of a sentence that was taken out* of a
document: they show whether it still understands what a text means when its words are gone. (Two queries a sentence: its halves.) What improves the first and
harms the second has learned to look at words only. DECISIONS.md has how this agrees with labels.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.build.assemble import private_index
from indexer.build.inverse_cloze import make_clozes
from indexer.build.settings import BuildSettings
from indexer.build.vectors import KnownVectors
from indexer.index.index import Index
from indexer.index.languages import detect_language
from indexer.progress import quiet, stage
from trainer.data.labels import QuerySet
from trainer.queries.extract import extract

EXTRACTS = 5
"""Extracts a document, of which the key words are kept."""
POOL_DOCUMENTS = 2_000
"""Documents among which a cloze's own is looked for."""


@dataclass(frozen=True)
class Documents:
    """All documents of an index: ids, titles and texts by row."""

    ids: list[str]
    titles: list[str | None]
    texts: list[str]

    @classmethod
    def of(cls, index: Index) -> Documents:
        """Read them."""
        documents = [index.document(row) for row in range(len(index))]
        return cls(
            [document.id for document in documents],
            [document.title for document in documents],
            [document.text for document in documents],
        )


def keyword_queries(documents: Documents, rows: Sequence[int], most: int, seed: int) -> QuerySet:
    """Return at most ``most`` questions made of the key words of the documents in ``rows``."""
    texts = [documents.texts[row] for row in rows]
    language = detect_language(texts[:200]) if texts else "none"
    found = extract([None] * len(rows), texts, EXTRACTS, language, seed)
    asked = {
        f"{documents.ids[row]}/{place}": (query, documents.ids[row])
        for row, queries in zip(rows, found, strict=True)
        for place, (kind, query) in enumerate(queries)
        if kind == "keywords"
    }
    chosen = sorted(random.Random(seed).sample(sorted(asked), min(most, len(asked))))  # noqa: S311
    return QuerySet({key: asked[key][0] for key in chosen}, {key: {asked[key][1]: 1} for key in chosen})


@dataclass(frozen=True)
class ClozePool:
    """QuerySet about documents that lack what is asked, and an index of such documents; its ids are row numbers."""

    queries: QuerySet
    index: Index
    ids: list[str]


def cloze_queries(
    index: Index,
    documents: Documents,
    rows: Sequence[int],
    *,
    folder: Path,
    count: int,
    seed: int,
) -> ClozePool:
    """Take a sentence out of each of some documents and ask for them by half of its words.

    Args:
        index: of the corpus; its encoder is used, and its vectors for the documents that stay as they are.
        documents: of that index.
        rows: held-out documents, from which sentences are taken.
        folder: where the index of the pool is written.
        count: how many sentences.
        seed: of everything that is drawn.
    """
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    held = list(rows)
    others = sorted(set(range(len(documents.ids))) - set(held))
    pool = held + chance.sample(others, min(len(others), max(POOL_DOCUMENTS - len(held), 0)))
    contents: list[dict[str, Any]] = [{"title": documents.titles[row], "text": documents.texts[row]} for row in pool]
    texts: dict[str, str] = {}
    for cloze in make_clozes([documents.texts[row] for row in held], count, seed):
        for half, words in enumerate(halves(cloze.sentence, chance)):
            texts[f"{cloze.row + 1}/{half}"] = words
        contents[cloze.row]["text"] = cloze.rest
    config = index.manifest.config
    settings = BuildSettings(language=config["language"], passages=config["passages"], precision=config["precision"])
    with stage("take sentences out of documents"), quiet():
        known = KnownVectors(index.folder)
        made = private_index(contents, settings, index.encoder, known, folder)
    ids = [made.document(row).id for row in range(len(made))]
    return ClozePool(QuerySet(texts, {key: {key.partition("/")[0]: 1} for key in texts}), made, ids)


def halves(sentence: str, chance: random.Random) -> tuple[str, str]:
    """Divide the words of a sentence at random into two halves, each in the order of the sentence.

    A sentence without spaces is cut in the middle.
    """
    words = sentence.split()
    if len(words) < 4:
        return sentence[: len(sentence) // 2], sentence[len(sentence) // 2 :]
    drawn = set(chance.sample(range(len(words)), len(words) // 2))
    return (
        " ".join(word for place, word in enumerate(words) if place in drawn),
        " ".join(word for place, word in enumerate(words) if place not in drawn),
    )
