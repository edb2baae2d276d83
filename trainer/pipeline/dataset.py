"""Training, dev and test queries of a run, divided by document before any query is written or trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from indexer.build.weights.neighbour_questions import make_neighbour_questions
from indexer.corpus.settings import DocumentSettings, select
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.index.terms.languages import detect_language
from indexer.inference.encoder import Encoder
from indexer.progress import say, stage
from indexer.retrieval.retriever import Retriever
from trainer.adapter.distillation import all_passages
from trainer.adapter.ladder import EncodedQueries
from trainer.data.clusters import Copies, groups_of
from trainer.data.labels import Labels, QuerySet, read_labels
from trainer.data.pairs import pairs_of
from trainer.data.prepare import prepare, read_frame
from trainer.data.settings import PrepareSettings, SplitSettings
from trainer.data.split import Split, split
from trainer.evaluate.encode import encode_queries
from trainer.evaluate.report import ALL, UNSEEN, JudgedBy
from trainer.mining.coverage import representatives
from trainer.mining.roundtrip import rank_pairs, summarise
from trainer.pipeline.plan import QueryCounts
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.workspace import Workspace
from trainer.queries.extract import extract
from trainer.queries.generate import generate
from trainer.queries.settings import QueriesSettings
from trainer.queries.synthetic import Documents, cloze_queries, keyword_queries, neighbour_queries

EXTRACTS_PER_DOCUMENT = 4
"""Training queries that are extracted from a document."""
MIN_LABELS = 50
"""Labelled training queries that are needed to train on labels; with fewer, labels are only used for evaluation."""
TEST_SHARE = 0.2
"""Share of the documents for test, at most 500. The verdict needs many queries; training loses little by fewer documents."""
MIN_UNSEEN = 40
"""Dev queries about unseen documents that are needed to form a group of their own."""
ROUND_TRIP_RANK = 3
"""A query that a language model wrote is kept if its document is among so many best."""
CLOZE = "sentences taken out of held-out documents"
"""Group of the report: inverse-cloze queries. They check that the tuned model did no harm (`trainer.evaluate.verdict`)."""


NEIGHBOURS = "sentences that ask for their document's neighbours"
"""Group of the report: neighbour questions (`indexer.build.weights.neighbour_questions`). They judge hybrid search."""
MIN_NEIGHBOURS = 40
"""With fewer neighbour questions there is no such group."""


@dataclass(frozen=True)
class TestSet:
    """Test queries of one group, and the index on which they are evaluated.

    Attributes:
        vectors: of the queries by the encoder of ``index``, shape (queries, dimension).
        ids: id of each document of ``index`` by its row, as the qrels name it.
        left_out: for each query the row of a document that is not searched; empty for none.
    """

    queries: QuerySet
    vectors: np.ndarray
    index: Index
    ids: list[str]
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def encoded(self) -> EncodedQueries:
        """The queries with their vectors."""
        return EncodedQueries(self.queries, self.vectors)


@dataclass(frozen=True)
class RunData:
    """Documents and queries of a run.

    Attributes:
        documents: of the corpus.
        unlabelled: training queries without labels, for distillation from the fused ranking.
        labelled: training queries with labels; None where there are none, or too few.
        dev: queries by which rungs and weights are chosen.
        tests: group of the report → its test queries.
        deciding: the group on which the verdict rests.
        judged_by: labels or synthetic queries.
        notes: caveats for the reader of the report.
        copies: near-duplicates among the documents.
        neighbours: neighbour questions from dev documents, which choose hybrid search's vectors; None where there are
            labels, or too few questions.
    """

    documents: Documents
    unlabelled: EncodedQueries
    labelled: EncodedQueries | None
    dev: EncodedQueries
    tests: dict[str, TestSet]
    deciding: str
    judged_by: JudgedBy
    notes: list[str]
    copies: Copies = field(default_factory=dict)
    neighbours: TestSet | None = None

    @property
    def unseen_dev(self) -> QuerySet | None:
        """The dev queries about documents that are not trained on; None where these are all, or too few."""
        if self.labelled is None:
            return None
        unseen = self.dev.queries.unseen(self.labelled.queries.documents, self.copies)
        return unseen if MIN_UNSEEN <= len(unseen) < len(self.dev.queries) else None

    def with_vectors(self, unlabelled: EncodedQueries, labelled: EncodedQueries | None, dev: EncodedQueries) -> RunData:
        """Return the same data with the query vectors of another encoder."""
        return replace(self, unlabelled=unlabelled, labelled=labelled, dev=dev)

    @property
    def rows(self) -> dict[str, int]:
        """Row of each document by its id."""
        return {document: row for row, document in enumerate(self.documents.ids)}


def prepare_data(
    source: str, index: Index, settings: RunSettings, workspace: Workspace, *, pool: Path, learn: bool = True
) -> RunData:
    """Divide the corpus and the labels into train, dev and test, and make the queries that no labels give.

    Args:
        source: the corpus.
        index: of the corpus, with the base model.
        settings: of the run.
        workspace: keeps the split, the written queries and their vectors.
        pool: folder for the index of the cloze queries, which lives as long as the run.
        learn: whether training queries are made too.

    Raises:
        UserError: the labels are refused, or the corpus gives no queries of a kind that is needed.
    """
    with stage("read the documents"):
        documents = Documents.of(index)
    sides = _split(documents, settings, workspace)
    copies = sides.copies()
    labels = None
    if settings.qrels:
        labels = read_labels(settings.qrels, settings.queries, set(documents.ids), settings.seed, copies)
    tests = _test_queries(documents, sides, labels, settings)
    dev = _dev_queries(documents, sides, labels, settings)
    labelled = _labelled_queries(sides, labels, tests) if learn else None
    unlabelled: list[str] = []
    if learn:
        rows = _training_rows(documents, sides, labels, tests)
        unlabelled = _unlabelled_queries(documents, rows, index, settings, source=source, workspace=workspace)
    queries = {"training": unlabelled, "dev": list(dev.texts.values())}
    queries |= {name: list(group.texts.values()) for name, group in tests.groups.items()}
    if labelled:
        queries["labels"] = list(labelled.texts.values())
    if missing := [name for name, texts in queries.items() if not texts and (learn or name != "training")]:
        raise UserError(
            f"the corpus: its {len(index):,} documents give no queries for {missing[0]!r}; "
            "give more documents with words in them, or labels with --qrels"
        )
    vectors = _encode_all(queries, index.encoder, workspace)
    groups = {name: TestSet(group, vectors[name], index, documents.ids) for name, group in tests.groups.items()}
    neighbours = None
    if tests.judged_by == "synthetic queries":
        groups |= _cloze_test(index, documents, sides, settings, pool)
        if test := _neighbour_test(index, documents, _rows(documents, sides, "test"), settings):
            groups[NEIGHBOURS] = test
        neighbours = _neighbour_test(index, documents, _rows(documents, sides, "dev"), settings) if learn else None
    return RunData(
        documents=documents,
        unlabelled=EncodedQueries(
            QuerySet({str(row): text for row, text in enumerate(unlabelled)}, {}), vectors["training"]
        ),
        labelled=EncodedQueries(labelled, vectors["labels"]) if labelled else None,
        dev=EncodedQueries(dev, vectors["dev"]),
        tests=groups,
        deciding=UNSEEN if UNSEEN in groups else ALL,
        judged_by=tests.judged_by,
        notes=tests.notes,
        copies=copies,
        neighbours=neighbours,
    )


@dataclass(frozen=True)
class _Tests:
    """Test queries by group of the report, what judges them, and caveats for the reader of the report."""

    groups: dict[str, QuerySet]
    judged_by: JudgedBy
    notes: list[str]


def _test_queries(documents: Documents, sides: Split, labels: Labels | None, settings: RunSettings) -> _Tests:
    """Return the labelled test queries or, where there are none, key words of held-out documents."""
    if labels and len(labels.test):
        unseen = labels.test.unseen(labels.train.documents | labels.dev.documents, sides.copies())
        if len(unseen) == len(labels.test):
            return _Tests({UNSEEN: labels.test}, "labels", [])
        if len(unseen):
            return _Tests({ALL: labels.test, UNSEEN: unseen}, "labels", [])
        note = "Every document that answers a test query was trained on: the verdict may flatter the model."
        return _Tests({ALL: labels.test}, "labels", [note])
    count = QueryCounts.for_budget(settings.budget_seconds).keywords
    queries = keyword_queries(documents, _rows(documents, sides, "test"), count, settings.seed)
    note = (
        "There are no labels: the test queries are key words of held-out documents, and sentences that were taken out "
        "of them. The figures say which model is better on this corpus, not how good either is for people's queries."
    )
    return _Tests({UNSEEN: queries}, "synthetic queries", [note])


def _dev_queries(documents: Documents, sides: Split, labels: Labels | None, settings: RunSettings) -> QuerySet:
    """Return the labelled dev queries or, where there are none, key words of the dev documents."""
    if labels and len(labels.dev):
        return labels.dev
    count = QueryCounts.for_budget(settings.budget_seconds).dev
    return keyword_queries(documents, _rows(documents, sides, "dev"), count, settings.seed)


def _labelled_queries(sides: Split, labels: Labels | None, tests: _Tests) -> QuerySet | None:
    """Return the labelled training queries; None where there are too few."""
    if labels is None:
        return None
    queries = labels.train
    if tests.judged_by != "labels":  # the test documents were drawn without regard to the labels
        queries = queries.unseen({*sides.documents("test"), *sides.documents("dev")}, sides.copies())
    return queries if len(queries) >= MIN_LABELS else None


def _training_rows(documents: Documents, sides: Split, labels: Labels | None, tests: _Tests) -> list[int]:
    """Return the rows of the documents that may be trained on.

    These are documents that answer no test or dev query and are no near-duplicates of one that does.
    """
    if labels is None or tests.judged_by != "labels":
        return _rows(documents, sides, "train")
    copies = sides.copies()
    held_out = groups_of(labels.test.documents | labels.dev.documents, copies)
    return [row for row, document in enumerate(documents.ids) if copies[document] not in held_out]


def _cloze_test(
    index: Index, documents: Documents, sides: Split, settings: RunSettings, pool: Path
) -> dict[str, TestSet]:
    """Return the group of cloze queries, made of sentences of test documents; nothing where no document has three."""
    count = QueryCounts.for_budget(settings.budget_seconds).clozes
    rows = _rows(documents, sides, "test")
    cloze = cloze_queries(index, documents, rows, folder=pool, count=count, seed=settings.seed)
    if not len(cloze.queries):
        return {}
    vectors = encode_queries("encode sentences", index.encoder, list(cloze.queries.texts.values()))
    return {CLOZE: TestSet(cloze.queries, vectors, cloze.index, cloze.ids)}


def _neighbour_test(index: Index, documents: Documents, rows: list[int], settings: RunSettings) -> TestSet | None:
    """Return neighbour questions whose sources are in ``rows``; None where there are too few."""
    count = QueryCounts.for_budget(settings.budget_seconds).clozes
    with stage("ask documents for their neighbours"):
        questions = make_neighbour_questions(index, rows, count, settings.seed)
    if len(questions) < MIN_NEIGHBOURS:
        return None
    queries, left_out = neighbour_queries(questions, documents.ids)
    vectors = encode_queries("encode neighbour questions", index.encoder, list(queries.texts.values()))
    return TestSet(queries, vectors, index, documents.ids, left_out)


def _rows(documents: Documents, sides: Split, side: str) -> list[int]:
    """Return the rows of the documents on one side of the split."""
    rows = {document: row for row, document in enumerate(documents.ids)}
    return [rows[document] for document in sides.documents(side)]


def _split(documents: Documents, settings: RunSettings, workspace: Workspace) -> Split:
    """Split the documents, or read the split of an interrupted run."""
    path = workspace.folder / "split.parquet"
    if not path.is_file():
        with stage("divide the documents"):
            split(documents.ids, documents.texts, SplitSettings(seed=settings.seed, test=TEST_SHARE)).write(path)
    return Split.read(path)


def _unlabelled_queries(
    documents: Documents, rows: list[int], index: Index, settings: RunSettings, *, source: str, workspace: Workspace
) -> list[str]:
    """Return training queries without labels: those of a language model, where one is named, and extracts."""
    rng = random.Random(settings.seed)  # noqa: S311 - a sample, no secret
    limit = QueryCounts.for_budget(settings.budget_seconds).unlabelled
    train = {documents.ids[row] for row in rows}
    written = _written_queries(source, train, index, settings, workspace)[:limit]
    count = max(limit - len(written), limit // 2)
    sample = sorted(rng.sample(rows, min(len(rows), count)))
    texts = [documents.texts[row] for row in sample]
    with stage("extract queries from the texts"):
        language = detect_language(texts[:200])
        by_text = extract([None] * len(texts), texts, EXTRACTS_PER_DOCUMENT, language, settings.seed)
    extracts = [query for queries in by_text for _, query in queries]
    return written + rng.sample(extracts, min(count, len(extracts)))


def _written_queries(
    source: str, train: set[str], index: Index, settings: RunSettings, workspace: Workspace
) -> list[str]:
    """Return queries that a language model writes for documents of ``train``; none where no model is named."""
    if not (settings.llm or settings.llm_model or settings.llm_path):
        return []
    corpus = select(settings, DocumentSettings)
    frame = prepare(source, PrepareSettings(**corpus, out=workspace.folder / "frame.parquet")).path
    llm = settings.model_dump(include={"llm", "llm_model", "llm_path", "llm_wait", "llm_prompt", "seed"})
    filled = workspace.folder / "queries.parquet"
    if not filled.is_file():
        most = settings.llm_documents or QueryCounts.for_budget(settings.budget_seconds).unlabelled // 3
        generate(frame, QueriesSettings(**llm), filled, _deserving(index, train, most, settings.seed))
    pairs = pairs_of(read_frame(filled))
    pairs = pairs.filter(np.array([document in train for document in pairs["document"].to_pylist()]))
    if not pairs.num_rows:
        return []
    judged = rank_pairs(pairs, Retriever(index))
    for line in summarise(judged, ROUND_TRIP_RANK):
        say(line)
    rank = judged["rank"].to_numpy()
    queries: list[str] = judged.filter((rank > 0) & (rank <= ROUND_TRIP_RANK))["query"].to_pylist()
    return list(dict.fromkeys(queries))


def _deserving(index: Index, train: set[str], count: int, seed: int) -> list[str]:
    """Return the ids of the documents for which queries are written: typical ones of all parts of the corpus."""
    means = np.add.reduceat(all_passages(index), index.first_passage[:-1])
    rows = [row for row in range(len(index)) if index.document(row).id in train]
    return [index.document(row).id for row in representatives(unit(means), rows, count, seed)]


def _encode_all(queries: dict[str, list[str]], encoder: Encoder, workspace: Workspace) -> dict[str, np.ndarray]:
    """Encode all queries at once, or read the vectors of an interrupted run."""
    everything = [text for texts in queries.values() for text in texts]
    arrays = workspace.arrays(
        "query-vectors", lambda: {"vectors": encode_queries("encode queries", encoder, everything)}
    )
    bounds = np.cumsum([0, *map(len, queries.values())])
    return {name: arrays["vectors"][bounds[row] : bounds[row + 1]] for row, name in enumerate(queries)}
