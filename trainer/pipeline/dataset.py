"""What a run learns from and is measured on, divided before anything is written or learned."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from indexer.corpus.settings import DocumentSettings, select
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.index.languages import detect_language
from indexer.inference.encoder import Encoder
from indexer.progress import stage
from indexer.retrieval.retriever import Retriever
from trainer.adapter.ladder import Asked
from trainer.data.labels import Labels, Questions, read_labels
from trainer.data.pairs import pairs_of
from trainer.data.prepare import prepare, read_frame
from trainer.data.settings import PrepareSettings, SplitSettings
from trainer.data.split import Split, split
from trainer.evaluate.encode import encode_queries
from trainer.evaluate.report import ALL, UNSEEN, JudgedBy
from trainer.mining.roundtrip import keep
from trainer.pipeline.plan import Sizes
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.workspace import Workshop
from trainer.queries.extract import extract
from trainer.queries.generate import generate
from trainer.queries.settings import QueriesSettings
from trainer.queries.synthetic import Documents, cloze_questions, keyword_questions

EXTRACTS = 4
"""Queries that are taken out of a document to learn from."""
LEAST_LABELS = 50
"""Labelled queries below which the texts alone are learned from, and the labels only measure."""
TEST_SHARE = 0.2
"""Of the documents, at most 500: the verdict needs many questions, and little is lost by learning from fewer."""
LEAST_UNSEEN = 40
"""Dev questions about unseen documents that are listened to by themselves."""
BEST = 3
"""A query that a language model wrote stays if its document is among so many best."""
TAKEN_OUT = "sentences taken out of held-out documents"


@dataclass(frozen=True)
class Test:
    """Questions of the exam and the index that they are about, with the ids by which they name its documents."""

    questions: Questions
    vectors: np.ndarray
    index: Index
    ids: list[str]


@dataclass(frozen=True)
class Material:
    """Everything a run works with.

    Attributes:
        documents: of the corpus.
        practice: queries without labels, to be distilled from the fused ranking.
        supervised: queries with labels; None where there are none to learn from.
        dev: questions by which rungs and weights are chosen.
        tests: group of the report → its questions; the verdict rests on ``deciding``.
        judged_by: labels or synthetic queries.
    """

    documents: Documents
    practice: Asked
    supervised: Asked | None
    dev: Asked
    tests: dict[str, Test]
    deciding: str
    judged_by: JudgedBy
    notes: list[str]

    @property
    def unseen_dev(self) -> Questions | None:
        """The dev questions about documents that are not learned from; None where these are all, or too few."""
        if self.supervised is None:
            return None
        unseen = self.dev.questions.unseen(self.supervised.questions.documents)
        return unseen if LEAST_UNSEEN <= len(unseen) < len(self.dev.questions) else None

    def with_vectors(self, practice: Asked, supervised: Asked | None, dev: Asked) -> Material:
        """Return the same questions with the vectors of another encoder."""
        return replace(self, practice=practice, supervised=supervised, dev=dev)

    @property
    def rows(self) -> dict[str, int]:
        """Row of each document."""
        return {document: row for row, document in enumerate(self.documents.ids)}


def gather(
    source: str, index: Index, settings: RunSettings, workshop: Workshop, *, pool: Path, learn: bool = True
) -> Material:
    """Divide the corpus and the labels, and make the queries that are missing.

    Args:
        source: the corpus.
        index: of it, with the model that is started from.
        settings: of the run.
        workshop: where what takes long is kept.
        pool: a folder for an index that lives as long as the run.
        learn: whether queries to learn from are made too.
    """
    sizes = Sizes.within(settings.budget_seconds)
    with stage("read the documents"):
        documents = Documents.of(index)
    sides = _sides(documents, settings, workshop)
    rows = {document: row for row, document in enumerate(documents.ids)}
    held = {side: [rows[document] for document in sides.documents(side)] for side in ("train", "dev", "test")}
    labels: Labels | None = None
    if settings.qrels:
        labels = read_labels(settings.qrels, settings.queries, set(rows), settings.seed)
    notes: list[str] = []
    if labels and len(labels.test):
        exam, judged_by = _labelled_exam(labels, notes), "labels"
        asked_about = labels.test.documents | labels.dev.documents
        held["train"] = [row for document, row in rows.items() if document not in asked_about]
    else:
        judged_by = "synthetic queries"
        exam = {UNSEEN: keyword_questions(documents, held["test"], sizes.keywords, settings.seed)}
        notes.append(
            "There are no labels: held-out documents were asked for by key words and by sentences that were taken out "
            "of them. The figures say which model is better on this corpus, not how good either is for people's queries."
        )
    dev = (
        labels.dev
        if labels and len(labels.dev)
        else keyword_questions(documents, held["dev"], sizes.dev, settings.seed)
    )
    practice = _practice(documents, held["train"], index, settings, source=source, workshop=workshop) if learn else []
    asked = {"practice": practice, "dev": list(dev.texts.values())}
    asked |= {name: list(questions.texts.values()) for name, questions in exam.items()}
    learnt = labels.train if learn and labels else None
    if learnt and judged_by != "labels":  # the exam is about documents that were drawn without looking at the labels
        learnt = learnt.unseen({documents.ids[row] for row in held["test"] + held["dev"]})
    if learnt is not None and len(learnt) < LEAST_LABELS:
        learnt = None
    if learnt:
        asked["labels"] = list(learnt.texts.values())
    if missing := [name for name, queries in asked.items() if not queries and (learn or name != "practice")]:
        raise UserError(
            f"the corpus: its {len(index):,} documents give no question for {missing[0]!r}; "
            "give more documents with words in them, or labels with --qrels"
        )
    vectors = _vectors(asked, index.encoder, workshop)
    tests = {name: Test(questions, vectors[name], index, documents.ids) for name, questions in exam.items()}
    if judged_by == "synthetic queries":
        cloze = cloze_questions(index, documents, held["test"], folder=pool, count=sizes.clozes, seed=settings.seed)
        if len(cloze.questions):
            found = encode_queries("encode sentences", index.encoder, list(cloze.questions.texts.values()))
            tests[TAKEN_OUT] = Test(cloze.questions, found, cloze.index, cloze.ids)
    return Material(
        documents=documents,
        practice=Asked(Questions({str(place): text for place, text in enumerate(practice)}, {}), vectors["practice"]),
        supervised=Asked(learnt, vectors["labels"]) if learnt else None,
        dev=Asked(dev, vectors["dev"]),
        tests=tests,
        deciding=UNSEEN if UNSEEN in tests else ALL,
        judged_by=judged_by,  # type: ignore[arg-type]
        notes=notes,
    )


def _sides(documents: Documents, settings: RunSettings, workshop: Workshop) -> Split:
    path = workshop.folder / "split.parquet"
    if not path.is_file():
        with stage("divide the documents"):
            split(documents.ids, documents.texts, SplitSettings(seed=settings.seed, test=TEST_SHARE)).write(path)
    return Split.read(path)


def _labelled_exam(labels: Labels, notes: list[str]) -> dict[str, Questions]:
    trained = labels.train.documents | labels.dev.documents
    unseen = labels.test.unseen(trained)
    if len(unseen) == len(labels.test):
        return {UNSEEN: labels.test}
    if not len(unseen):
        notes.append("Every document that answers a test query was trained on: the verdict may flatter the model.")
        return {ALL: labels.test}
    return {ALL: labels.test, UNSEEN: unseen}


def _practice(
    documents: Documents, rows: list[int], index: Index, settings: RunSettings, *, source: str, workshop: Workshop
) -> list[str]:
    """Return queries to learn from: a language model's, where one was named, and extracts."""
    chance = random.Random(settings.seed)  # noqa: S311 - a sample, no secret
    most = Sizes.within(settings.budget_seconds).practice
    train = {documents.ids[row] for row in rows}
    written = _written(source, train, index, settings, workshop)[:most]
    room = max(most - len(written), most // 2)
    chosen = sorted(chance.sample(rows, min(len(rows), room)))
    texts = [documents.texts[row] for row in chosen]
    with stage("take queries out of the texts"):
        found = extract([None] * len(texts), texts, EXTRACTS, detect_language(texts[:200]), settings.seed)
    taken = [query for queries in found for _, query in queries]
    return written + chance.sample(taken, min(room, len(taken)))


def _written(source: str, train: set[str], index: Index, settings: RunSettings, workshop: Workshop) -> list[str]:
    """Return what a language model asks about the documents in ``train``, where one was named."""
    if not (settings.llm or settings.llm_model or settings.llm_path):
        return []
    corpus = select(settings, DocumentSettings)
    frame = prepare(source, PrepareSettings(**corpus, out=workshop.folder / "frame.parquet")).path
    asked = settings.model_dump(include={"llm", "llm_model", "llm_path", "llm_wait", "seed"})
    filled = workshop.folder / "queries.parquet"
    if not filled.is_file():
        most = min(Sizes.within(settings.budget_seconds).practice // 3, len(train))
        generate(frame, QueriesSettings(**asked, limit_documents=most), filled)
    pairs = pairs_of(read_frame(filled))
    pairs = pairs.filter(np.array([document in train for document in pairs["document"].to_pylist()]))
    if not pairs.num_rows:
        return []
    queries: list[str] = keep(pairs, Retriever(index), BEST)["query"].to_pylist()
    return queries


def _vectors(asked: dict[str, list[str]], encoder: Encoder, workshop: Workshop) -> dict[str, np.ndarray]:
    """Encode all queries at once, or take up what an interrupted run has encoded."""
    whole = [text for texts in asked.values() for text in texts]
    made = workshop.arrays("query-vectors", lambda: {"vectors": encode_queries("encode queries", encoder, whole)})
    bounds = np.cumsum([0, *map(len, asked.values())])
    return {name: made["vectors"][bounds[at] : bounds[at + 1]] for at, name in enumerate(asked)}
