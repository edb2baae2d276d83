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
from trainer.adapter.ladder import EncodedQueries
from trainer.data.labels import Labels, QuerySet, read_labels
from trainer.data.pairs import pairs_of
from trainer.data.prepare import prepare, read_frame
from trainer.data.settings import PrepareSettings, SplitSettings
from trainer.data.split import Split, split
from trainer.evaluate.encode import encode_queries
from trainer.evaluate.report import ALL, UNSEEN, JudgedBy
from trainer.mining.roundtrip import keep
from trainer.pipeline.plan import Sizes
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.workspace import Workspace
from trainer.queries.extract import extract
from trainer.queries.generate import generate
from trainer.queries.settings import QueriesSettings
from trainer.queries.synthetic import Documents, cloze_queries, keyword_queries

EXTRACTS = 4
"""Queries that are taken out of a document to learn from."""
MIN_LABELS = 50
"""Labelled queries below which the texts alone are learned from, and the labels only measure."""
TEST_SHARE = 0.2
"""Of the documents, at most 500: the verdict needs many questions, and little is lost by learning from fewer."""
MIN_UNSEEN = 40
"""Dev questions about unseen documents that are listened to by themselves."""
ROUND_TRIP_RANK = 3
"""A query that a language model wrote stays if its document is among so many best."""
TAKEN_OUT = "sentences taken out of held-out documents"


@dataclass(frozen=True)
class TestSet:
    """QuerySet of the exam and the index that they are about, with the ids by which they name its documents."""

    queries: QuerySet
    vectors: np.ndarray
    index: Index
    ids: list[str]


@dataclass(frozen=True)
class RunData:
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
    practice: EncodedQueries
    supervised: EncodedQueries | None
    dev: EncodedQueries
    tests: dict[str, TestSet]
    deciding: str
    judged_by: JudgedBy
    notes: list[str]

    @property
    def unseen_dev(self) -> QuerySet | None:
        """The dev questions about documents that are not learned from; None where these are all, or too few."""
        if self.supervised is None:
            return None
        unseen = self.dev.queries.unseen(self.supervised.queries.documents)
        return unseen if MIN_UNSEEN <= len(unseen) < len(self.dev.queries) else None

    def with_vectors(self, practice: EncodedQueries, supervised: EncodedQueries | None, dev: EncodedQueries) -> RunData:
        """Return the same questions with the vectors of another encoder."""
        return replace(self, practice=practice, supervised=supervised, dev=dev)

    @property
    def rows(self) -> dict[str, int]:
        """Row of each document."""
        return {document: row for row, document in enumerate(self.documents.ids)}


def prepare_data(
    source: str, index: Index, settings: RunSettings, workshop: Workspace, *, pool: Path, learn: bool = True
) -> RunData:
    """Divide the corpus and the labels, and make the queries that are missing.

    Args:
        source: the corpus.
        index: of it, with the model that is started from.
        settings: of the run.
        workshop: where what takes long is kept.
        pool: a folder for an index that lives as long as the run.
        learn: whether queries to learn from are made too.

    Raises:
        UserError: the labels are refused, or the corpus gives no queries of a kind that is needed.
    """
    with stage("read the documents"):
        documents = Documents.of(index)
    sides = _sides(documents, settings, workshop)
    labels = None
    if settings.qrels:
        labels = read_labels(settings.qrels, settings.queries, set(documents.ids), settings.seed)
    tests = _test_questions(documents, sides, labels, settings)
    dev = _dev_questions(documents, sides, labels, settings)
    supervised = _supervised_questions(sides, labels, tests) if learn else None
    practice: list[str] = []
    if learn:
        rows = _training_rows(documents, sides, labels, tests)
        practice = _practice(documents, rows, index, settings, source=source, workshop=workshop)
    queries = {"practice": practice, "dev": list(dev.texts.values())}
    queries |= {name: list(questions.texts.values()) for name, questions in tests.groups.items()}
    if supervised:
        queries["labels"] = list(supervised.texts.values())
    if missing := [name for name, texts in queries.items() if not texts and (learn or name != "practice")]:
        raise UserError(
            f"the corpus: its {len(index):,} documents give no question for {missing[0]!r}; "
            "give more documents with words in them, or labels with --qrels"
        )
    vectors = _encode_all(queries, index.encoder, workshop)
    groups = {name: TestSet(questions, vectors[name], index, documents.ids) for name, questions in tests.groups.items()}
    if tests.judged_by == "synthetic queries":
        groups |= _cloze_test(index, documents, sides, settings, pool)
    return RunData(
        documents=documents,
        practice=EncodedQueries(
            QuerySet({str(row): text for row, text in enumerate(practice)}, {}), vectors["practice"]
        ),
        supervised=EncodedQueries(supervised, vectors["labels"]) if supervised else None,
        dev=EncodedQueries(dev, vectors["dev"]),
        tests=groups,
        deciding=UNSEEN if UNSEEN in groups else ALL,
        judged_by=tests.judged_by,
        notes=tests.notes,
    )


@dataclass(frozen=True)
class _Tests:
    """The test queries by group of the report, what the verdict rests on, and what a reader should know of it."""

    groups: dict[str, QuerySet]
    judged_by: JudgedBy
    notes: list[str]


def _test_questions(documents: Documents, sides: Split, labels: Labels | None, settings: RunSettings) -> _Tests:
    """Return the labelled test queries or, where there are none, key words of held-out documents."""
    if labels and len(labels.test):
        unseen = labels.test.unseen(labels.train.documents | labels.dev.documents)
        if len(unseen) == len(labels.test):
            return _Tests({UNSEEN: labels.test}, "labels", [])
        if len(unseen):
            return _Tests({ALL: labels.test, UNSEEN: unseen}, "labels", [])
        note = "Every document that answers a test query was trained on: the verdict may flatter the model."
        return _Tests({ALL: labels.test}, "labels", [note])
    count = Sizes.within(settings.budget_seconds).keywords
    questions = keyword_queries(documents, _rows(documents, sides, "test"), count, settings.seed)
    note = (
        "There are no labels: held-out documents were asked for by key words and by sentences that were taken out "
        "of them. The figures say which model is better on this corpus, not how good either is for people's queries."
    )
    return _Tests({UNSEEN: questions}, "synthetic queries", [note])


def _dev_questions(documents: Documents, sides: Split, labels: Labels | None, settings: RunSettings) -> QuerySet:
    """Return the labelled dev queries or, where there are none, key words of the dev documents."""
    if labels and len(labels.dev):
        return labels.dev
    count = Sizes.within(settings.budget_seconds).dev
    return keyword_queries(documents, _rows(documents, sides, "dev"), count, settings.seed)


def _supervised_questions(sides: Split, labels: Labels | None, tests: _Tests) -> QuerySet | None:
    """Return the labelled queries to learn from; None where there are too few."""
    if labels is None:
        return None
    questions = labels.train
    if tests.judged_by != "labels":  # the test is about documents that were drawn without looking at the labels
        questions = questions.unseen({*sides.documents("test"), *sides.documents("dev")})
    return questions if len(questions) >= MIN_LABELS else None


def _training_rows(documents: Documents, sides: Split, labels: Labels | None, tests: _Tests) -> list[int]:
    """Return the rows of the documents that may be trained on: no test or dev query is about them."""
    if labels is None or tests.judged_by != "labels":
        return _rows(documents, sides, "train")
    held_out = labels.test.documents | labels.dev.documents
    return [row for row, document in enumerate(documents.ids) if document not in held_out]


def _cloze_test(
    index: Index, documents: Documents, sides: Split, settings: RunSettings, pool: Path
) -> dict[str, TestSet]:
    """Return the group of sentences that were taken out of test documents; none where no document has three."""
    count = Sizes.within(settings.budget_seconds).clozes
    rows = _rows(documents, sides, "test")
    cloze = cloze_queries(index, documents, rows, folder=pool, count=count, seed=settings.seed)
    if not len(cloze.queries):
        return {}
    vectors = encode_queries("encode sentences", index.encoder, list(cloze.queries.texts.values()))
    return {TAKEN_OUT: TestSet(cloze.queries, vectors, cloze.index, cloze.ids)}


def _rows(documents: Documents, sides: Split, side: str) -> list[int]:
    rows = {document: row for row, document in enumerate(documents.ids)}
    return [rows[document] for document in sides.documents(side)]


def _sides(documents: Documents, settings: RunSettings, workshop: Workspace) -> Split:
    path = workshop.folder / "split.parquet"
    if not path.is_file():
        with stage("divide the documents"):
            split(documents.ids, documents.texts, SplitSettings(seed=settings.seed, test=TEST_SHARE)).write(path)
    return Split.read(path)


def _practice(
    documents: Documents, rows: list[int], index: Index, settings: RunSettings, *, source: str, workshop: Workspace
) -> list[str]:
    """Return queries without labels to learn from: a language model's, where one was named, and extracts."""
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


def _written(source: str, train: set[str], index: Index, settings: RunSettings, workshop: Workspace) -> list[str]:
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
    queries: list[str] = keep(pairs, Retriever(index), ROUND_TRIP_RANK)["query"].to_pylist()
    return queries


def _encode_all(queries: dict[str, list[str]], encoder: Encoder, workshop: Workspace) -> dict[str, np.ndarray]:
    """Encode all queries at once, or take up what an interrupted run has encoded."""
    whole = [text for texts in queries.values() for text in texts]
    made = workshop.arrays("query-vectors", lambda: {"vectors": encode_queries("encode queries", encoder, whole)})
    bounds = np.cumsum([0, *map(len, queries.values())])
    return {name: made["vectors"][bounds[at] : bounds[at + 1]] for at, name in enumerate(queries)}
