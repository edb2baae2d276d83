"""Questions about the documents of a sample, made once and the same for all models that are compared.

The kinds fail differently. Key words are words of the document: a model that follows surface words finds them best.
A sentence that was taken out shares its subject with its document, and fewer words. Where documents are too short for
that, half of a document's words ask for the other half. All documents stay in one index without the words that were
taken out, so that each model encodes the sample once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from indexer.build.inverse_cloze import halves, make_clozes, make_halves
from trainer.data.labels import QuerySet
from trainer.pipeline.bases.sample import Sample
from trainer.queries.synthetic import Documents, keyword_queries

Kind = Literal["neighbours", "key words", "sentences", "halves", "agreement", "labels"]

MAX_QUESTIONS = 500
"""Questions of a kind."""
TAKEN_SHARE = 0.25
"""Share of the documents from which words are taken."""
MIN_SENTENCES = 50
"""With fewer sentences, half of a document's words ask for the other half."""


@dataclass(frozen=True)
class Questions:
    """Questions of one kind, and the answers as rows of the sample.

    Attributes:
        texts: of the questions.
        answers: row → relevance of each question.
        left_out: row of the document that is not searched, for each question; None where all documents are searched.
    """

    texts: list[str]
    answers: list[dict[int, int]]
    left_out: list[int] | None = None

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, int]]) -> Questions:
        """Return questions with one answer each."""
        return cls([text for text, _ in pairs], [{row: 1} for _, row in pairs])

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def clusters(self) -> list[int]:
        """The document that each question was made from: questions about one document are not independent."""
        return self.left_out or [next(iter(answers)) for answers in self.answers]

    def query_set(self) -> QuerySet:
        """Return them with their numbers as ids, and rows as ids of documents."""
        return QuerySet(
            {str(number): text for number, text in enumerate(self.texts)},
            {str(number): {str(row): grade for row, grade in rows.items()} for number, rows in enumerate(self.answers)},
        )


def make_questions(sample: Sample, seed: int) -> tuple[list[dict[str, Any]], dict[Kind, Questions]]:
    """Return the documents to index, as for `build_private_index`, and the questions of each kind that need no vectors."""
    documents = sample.documents
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    contents: list[dict[str, Any]] = [
        {"title": title, "text": text} for title, text in zip(documents.titles, documents.texts, strict=True)
    ]
    kinds: dict[Kind, Questions] = {}
    answering = sample.labelled.documents if sample.labelled else set()
    rows = [row for row, document in enumerate(documents.ids) if document not in answering]
    name, taken = _take_words(contents, rows, max(len(contents) // 4, 1), rng, seed)
    if taken:
        kinds[name] = Questions.of(taken)
    texts = [content["text"] for content in contents]
    names = [str(row) for row in range(len(texts))]
    keywords = keyword_queries(Documents(names, documents.titles, texts), range(len(texts)), MAX_QUESTIONS, seed)
    if len(keywords):
        kinds["key words"] = Questions.of(
            [(text, int(next(iter(keywords.qrels[key])))) for key, text in keywords.texts.items()]
        )
    if sample.labelled is not None and len(sample.labelled):
        row_of = {document: row for row, document in enumerate(documents.ids)}
        answers = [{row_of[name]: grade for name, grade in own.items()} for own in sample.labelled.qrels.values()]
        kinds["labels"] = Questions(list(sample.labelled.texts.values()), answers)
    return contents, kinds


def _take_words(
    contents: list[dict[str, Any]], rows: list[int], count: int, rng: random.Random, seed: int
) -> tuple[Kind, list[tuple[str, int]]]:
    """Take a sentence, or half of the words, out of some documents; return the kind, and questions with their rows."""
    count = min(count, MAX_QUESTIONS)
    texts = [contents[row]["text"] for row in rows]
    clozes = make_clozes(texts, count, seed)
    sentences = len(clozes) >= min(MIN_SENTENCES, count)
    if not sentences:
        clozes = make_halves(texts, count, seed)
    for cloze in clozes:
        contents[rows[cloze.row]]["text"] = cloze.rest
    if sentences:
        return "sentences", [(halves(cloze.sentence, rng)[0], rows[cloze.row]) for cloze in clozes]
    return "halves", [(cloze.sentence, rows[cloze.row]) for cloze in clozes]
