"""Questions about the documents of a sample, made once and the same for all models that are compared.

The kinds fail differently. Key words are words of the document: a model that follows surface words finds them best.
A sentence that was taken out shares its subject with its document, and fewer words. Where documents are too short for
that, half of a document's words ask for the other half. All documents stay in one index without the words that were
taken out, so that each model encodes the sample once. What is taken out is settled for the whole sample: the first
documents are the same texts in a small sample and in a larger one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from indexer.build.weights import inverse_cloze
from trainer.data.labels import QuerySet
from trainer.pipeline.bases.sample import Sample
from trainer.queries.synthetic import Documents, keyword_queries

Kind = Literal["neighbours", "key words", "sentences", "halves", "agreement", "labels"]

MAX_QUESTIONS = 500
"""Questions of a kind."""
MAX_KEYWORDS = 200
"""Key-word questions, which weigh little: a base of 12 layers and 768 values reads twenty questions a second on one core."""
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


@dataclass(frozen=True)
class Material:
    """A sample as it is indexed, and the words that were taken out of its documents.

    Attributes:
        sample: the documents as they are in the corpus.
        contents: documents to index, as for `build_private_index`.
        kind: of what was taken out.
        taken: what was taken out, and the row of its document.
    """

    sample: Sample
    contents: list[dict[str, Any]]
    kind: Kind
    taken: list[tuple[str, int]]

    def questions(self, count: int, seed: int) -> dict[Kind, Questions]:
        """Return the questions about the first ``count`` documents of each kind that needs no vectors."""
        kinds: dict[Kind, Questions] = {}
        if taken := [pair for pair in self.taken if pair[1] < count]:
            kinds[self.kind] = Questions.of(taken)
        documents = self.sample.documents
        texts = [content["text"] for content in self.contents[:count]]
        named = Documents([str(row) for row in range(count)], documents.titles[:count], texts)
        keywords = keyword_queries(named, range(count), MAX_KEYWORDS, seed)
        if len(keywords):
            kinds["key words"] = Questions.of(
                [(text, int(next(iter(keywords.qrels[key])))) for key, text in keywords.texts.items()]
            )
        if (labelled := self.sample.labelled) is not None:
            row_of = {document: row for row, document in enumerate(documents.ids[:count])}
            answers = {
                query: {row_of[name]: grade for name, grade in own.items() if name in row_of}
                for query, own in labelled.qrels.items()
            }
            asked = [query for query, rows in answers.items() if rows]
            if asked:
                kinds["labels"] = Questions(
                    [labelled.texts[query] for query in asked], [answers[query] for query in asked]
                )
        return kinds


def take_words(sample: Sample, seed: int) -> Material:
    """Take a sentence, or half of the words, out of some of the documents that answer no labelled query."""
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    documents = sample.documents
    contents: list[dict[str, Any]] = [
        {"title": title, "text": text} for title, text in zip(documents.titles, documents.texts, strict=True)
    ]
    answering = sample.labelled.documents if sample.labelled else set()
    rows = [row for row, document in enumerate(documents.ids) if document not in answering]
    texts = [documents.texts[row] for row in rows]
    count = min(max(int(len(contents) * TAKEN_SHARE), 1), MAX_QUESTIONS)
    clozes, sentences = inverse_cloze.take_words(texts, count, min(MIN_SENTENCES, count), seed)
    for cloze in clozes:
        contents[rows[cloze.row]]["text"] = cloze.rest
    asked = [inverse_cloze.halves(cloze.sentence, rng)[0] if sentences else cloze.sentence for cloze in clozes]
    taken = [(text, rows[cloze.row]) for text, cloze in zip(asked, clozes, strict=True)]
    return Material(sample, contents, "sentences" if sentences else "halves", taken)
