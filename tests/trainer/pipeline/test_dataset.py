"""Training, dev and test queries of a run: no document of dev or test is trained on."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tales import write_labelled, write_tales

import trainer.pipeline.dataset
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.index.index import Index
from trainer.evaluate.report import ALL, UNSEEN
from trainer.pipeline.dataset import CLOZE, MIN_LABELS, RunData, prepare_data
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.workspace import Workspace

COUNT = 120


class Preparer:
    """Prepares the data of runs over one index, each time in a workspace of its own unless one is named."""

    def __init__(self, folder: Path, data: Path, corpus: Path) -> None:
        manifest = build(str(corpus), BuildSettings(language="en", dense_weight=0.4), data, cores=1).manifest
        self.folder, self.data, self.corpus = folder, data, corpus
        self.index = Index.open(Store("index", data).path(manifest.id), cores=1)
        self.count = 0

    def __call__(self, workspace: str | None = None, *, learn: bool = True, **settings: object) -> RunData:
        """Prepare the data."""
        self.count += 1
        pool = self.folder / f"pool-{self.count}"
        pool.mkdir()
        with Workspace(self.folder / (workspace or f"workspace-{self.count}"), "ab" * 32) as opened:
            options = RunSettings.model_validate(settings)
            return prepare_data(str(self.corpus), self.index, options, opened, pool=pool, learn=learn)


@pytest.fixture(scope="module")
def tales(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Preparer:
    """Prepares data of 120 tales without labels."""
    folder = tmp_path_factory.mktemp("dataset")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    return Preparer(folder, data, write_tales(folder / "tales.parquet", COUNT))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Preparer:
    """Prepares data of 120 tales with labels."""
    folder = tmp_path_factory.mktemp("labelled")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    return Preparer(folder, data, write_labelled(folder / "labels", COUNT))


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return text.lower().replace(".", " ").split()


def can_be_from(query: str, text: str) -> bool:
    """Say whether all words of a query stand in a text."""
    return set(words_of(query)) <= set(words_of(text))


def relabel(folder: Path, source: Preparer, queries: pa.Table, qrels: pa.Table) -> dict[str, Path]:
    """Write other labels about the corpus of ``source`` and return them as settings."""
    folder.mkdir()
    pq.write_table(queries, folder / "queries.parquet")
    pq.write_table(qrels, folder / "qrels.parquet")
    assert source.corpus.is_file()
    return {"qrels": folder / "qrels.parquet"}


# --- without labels -------------------------------------------------------------------------------------------------


def test_without_labels(tales: Preparer) -> None:
    """There are two groups of test queries about held-out documents; key words decide; a note explains the figures."""
    run_data = tales()
    assert run_data.judged_by == "synthetic queries"
    assert set(run_data.tests) == {UNSEEN, CLOZE}
    assert run_data.deciding == UNSEEN
    assert run_data.labelled is None
    assert "There are no labels" in run_data.notes[0]
    assert run_data.tests[UNSEEN].index is tales.index
    assert len(run_data.tests[CLOZE].index) == COUNT


def test_no_test_document_is_trained_on(tales: Preparer) -> None:
    """Test, dev and training documents are disjoint sets: training queries come from the third alone."""
    run_data = tales()
    test, dev = run_data.tests[UNSEEN].queries.documents, run_data.dev.queries.documents
    assert test and dev
    assert not test & dev
    texts = dict(zip(run_data.documents.ids, run_data.documents.texts, strict=True))
    free = [text for name, text in texts.items() if name not in test | dev]
    training = list(run_data.unlabelled.queries.texts.values())
    assert len(training) > COUNT
    for query in training:
        assert any(can_be_from(query, text) for text in free)
    sentences = [query for query in training if len(words_of(query)) > 6]
    assert sentences
    for query in sentences:  # long enough to be of one document only
        assert not any(query in texts[name] for name in test | dev)
    test_queries = {text for test in run_data.tests.values() for text in test.queries.texts.values()}
    assert not test_queries & set(training)


def test_the_taken_out_sentences_are_of_test_documents(tales: Preparer) -> None:
    """Sentences are taken out of test documents, never out of training documents."""
    run_data = tales()
    held = run_data.tests[UNSEEN].queries.documents
    test = run_data.tests[CLOZE]
    changed = {test.index.document(row).text for row in range(COUNT)} - set(run_data.documents.texts)
    name_by_text = {text: name for name, text in zip(run_data.documents.ids, run_data.documents.texts, strict=True)}
    for text in changed:
        [origin] = [
            name
            for full, name in name_by_text.items()
            if sorted([*words_of(text)]) != sorted(words_of(full)) and _without_a_sentence(text, full)
        ]
        assert origin in held


def _without_a_sentence(text: str, full: str) -> bool:
    sentences = [f"{sentence}." for sentence in full.rstrip(".").split(". ")]
    return any(" ".join(sentences[:at] + sentences[at + 1 :]) == text for at in range(len(sentences)))


def test_vectors_belong_to_their_queries(tales: Preparer) -> None:
    """Every query has its own vector, in the order of the queries."""
    run_data = tales()
    encode = tales.index.encoder.encode_queries
    groups = [run_data.unlabelled, run_data.dev, *run_data.tests.values()]
    for group in groups:
        texts = list(group.queries.texts.values())
        assert np.allclose(group.vectors, unit(encode(texts)), atol=1e-5)


def test_the_seed_divides(tales: Preparer) -> None:
    """The same seed divides and draws the same, another seed other documents."""
    first, again, other = tales(), tales(), tales(seed=1)
    for part in ("unlabelled", "dev"):
        assert getattr(first, part).queries == getattr(again, part).queries != getattr(other, part).queries
    for name in (UNSEEN, CLOZE):
        assert first.tests[name].queries == again.tests[name].queries != other.tests[name].queries


def test_titles_are_not_learned_from(tiny_data: Path, tmp_path: Path) -> None:
    """Training queries are extracted from the texts, never from titles: users do not search by whole titles."""
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    table = pq.read_table(write_tales(tmp_path / "plain.parquet", 60))
    pq.write_table(
        table.append_column("title", pa.array([f"wine {n} wine" for n in range(60)])), tmp_path / "titled.parquet"
    )
    run_data = Preparer(tmp_path, data, tmp_path / "titled.parquet")()
    assert not [
        query
        for query in run_data.unlabelled.queries.texts.values()
        if query.startswith("wine ") and query.endswith(" wine")
    ]
    assert run_data.documents.titles[3] == "wine 3 wine"


def test_a_short_budget_makes_fewer_queries(tales: Preparer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of queries follows the budget."""
    chosen = trainer.pipeline.dataset.QueryCounts(unlabelled=30, dev=7, keywords=11, clozes=3)
    monkeypatch.setattr(trainer.pipeline.dataset.QueryCounts, "for_budget", lambda _: chosen)
    run_data = tales()
    assert len(run_data.unlabelled.queries) == 30
    assert len(run_data.dev.queries) == 7
    assert len(run_data.tests[UNSEEN].queries) == 11
    assert len(run_data.tests[CLOZE].queries) == 6


def test_what_is_finished_is_taken_up(tales: Preparer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same workspace neither the split nor the vectors are made again, and the data are the same."""
    first = tales("same")
    monkeypatch.setattr(trainer.pipeline.dataset, "split", None)
    encode = trainer.pipeline.dataset.encode_queries
    encoded: list[str] = []
    monkeypatch.setattr(
        trainer.pipeline.dataset, "encode_queries", lambda name, *rest: encoded.append(name) or encode(name, *rest)
    )
    again = tales("same")
    assert encoded == ["encode sentences"]  # their index lives as long as the run
    assert again.unlabelled.queries == first.unlabelled.queries
    assert np.array_equal(again.unlabelled.vectors, first.unlabelled.vectors)
    assert np.array_equal(again.tests[UNSEEN].vectors, first.tests[UNSEEN].vectors)


def test_only_measuring(tales: Preparer) -> None:
    """Without training there are no training queries; the test queries are the same."""
    run_data = tales(learn=False)
    assert not len(run_data.unlabelled.queries)
    assert run_data.tests[UNSEEN].queries == tales().tests[UNSEEN].queries


@pytest.mark.parametrize(
    "texts", [["The cat sits."], ["The cat sits."] * 40, [f"{'.' * number} !" for number in range(1, 50)]]
)
def test_a_corpus_that_gives_no_queries(tiny_data: Path, tmp_path: Path, texts: list[str]) -> None:
    """A single document, copies of one, or no words: nothing can be held out, and the error says so."""
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    corpus = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"id": [str(number) for number in range(len(texts))], "text": texts}), corpus)
    with pytest.raises(UserError, match=rf"its {len(texts)} documents give no queries for .*give more documents"):
        Preparer(tmp_path, data, corpus)()


# --- with labels ----------------------------------------------------------------------------------------------------


def test_with_labels(labelled: Preparer) -> None:
    """With labels there is training on train, choice by dev and verdict by test; no test query is synthetic."""
    run_data = labelled(qrels=labelled.corpus.with_name("qrels.parquet"))
    assert run_data.judged_by == "labels"
    assert run_data.labelled is not None
    assert list(run_data.tests) == [UNSEEN]  # the splits share no document
    assert run_data.deciding == UNSEEN
    numbers = {
        name: {int(document[1:]) for document in part.documents}
        for name, part in (
            ("train", run_data.labelled.queries), ("dev", run_data.dev.queries), ("test", run_data.tests[UNSEEN].queries)
        )
    }  # fmt: skip
    assert numbers["test"] == set(range(0, COUNT, 2))
    assert numbers["dev"] == set(range(1, COUNT, 8))
    assert numbers["train"] == set(range(COUNT)) - numbers["test"] - numbers["dev"]
    assert run_data.notes == []


def test_unlabelled_queries_leave_out_dev_and_test_documents(labelled: Preparer) -> None:
    """Training queries without labels are not extracted from documents that answer a query of test or dev."""
    run_data = labelled(qrels=labelled.corpus.with_name("qrels.parquet"))
    texts = dict(zip(run_data.documents.ids, run_data.documents.texts, strict=True))
    held_out = run_data.tests[UNSEEN].queries.documents | run_data.dev.queries.documents
    free = [text for name, text in texts.items() if name not in held_out]
    assert len(free) == COUNT - len(held_out)
    for query in run_data.unlabelled.queries.texts.values():
        assert any(can_be_from(query, text) for text in free)


def test_documents_that_were_trained_on(labelled: Preparer, tmp_path: Path) -> None:
    """Where test queries share documents with train, there are two groups, and the verdict rests on the unseen one."""
    queries = pq.read_table(labelled.corpus.with_name("queries.parquet"))
    qrels = pq.read_table(labelled.corpus.with_name("qrels.parquet")).to_pylist()
    for row in qrels[:40:4]:  # of documents 0, 2, 4 …, which are the test's: their first query
        row["doc_id"] = "t003"
    run_data = labelled(**relabel(tmp_path / "labels", labelled, queries, pa.Table.from_pylist(qrels)))
    assert set(run_data.tests) == {ALL, UNSEEN}
    everything, unseen = run_data.tests[ALL].queries, run_data.tests[UNSEEN].queries
    assert len(everything) == COUNT
    assert len(unseen) == COUNT - 10
    assert "t003" not in unseen.documents
    assert run_data.deciding == UNSEEN


def test_copies_of_test_documents_are_not_trained_on(tiny_data: Path, tmp_path: Path) -> None:
    """Every text is there twice under two ids, one in train and one in test: such a test query is not unseen.

    Without a column split, both copies are on one side. Nothing is extracted from a copy of a held-out document.
    """
    table = pq.read_table(write_tales(tmp_path / "tales.parquet", 80))
    texts = table["text"].to_pylist()
    ids = [f"a{number:02}" for number in range(80)] + [f"z{79 - number:02}" for number in range(80)]
    corpus = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"id": ids, "text": texts * 2}), corpus)
    text_of = dict(zip(ids, texts * 2, strict=True))
    prepare = Preparer(tmp_path, Path(shutil.copytree(tiny_data, tmp_path / "data")), corpus)
    queries = [{"id": f"q{name}", "text": " ".join(text_of[name].split()[:4])} for name in ids]
    qrels = pa.Table.from_pylist([{"query_id": f"q{name}", "doc_id": name} for name in ids])
    given = [
        row | {"split": "dev" if number % 80 < 8 else "test" if number < 48 else "train"}
        for number, row in enumerate(queries)
    ]
    torn = prepare(**relabel(tmp_path / "given", prepare, pa.Table.from_pylist(given), qrels))
    assert list(torn.tests) == [ALL]  # the copies of all test documents are in train
    assert "may flatter" in torn.notes[0]
    whole = prepare(**relabel(tmp_path / "drawn", prepare, pa.Table.from_pylist(queries), qrels))
    assert list(whole.tests) == [UNSEEN]
    assert whole.labelled is not None
    parts = [whole.labelled.queries, whole.dev.queries, whole.tests[UNSEEN].queries]
    train, dev, test = ({text_of[name] for name in part.documents} for part in parts)
    assert train and dev and test
    assert not train & dev and not train & test and not dev & test
    free = set(texts) - dev - test
    assert all(any(can_be_from(query, text) for text in free) for query in whole.unlabelled.queries.texts.values())


def test_all_documents_were_trained_on(labelled: Preparer, tmp_path: Path) -> None:
    """Where every test query is about a trained document, they decide all the same, and a note warns."""
    queries = pq.read_table(labelled.corpus.with_name("queries.parquet"))
    qrels = pq.read_table(labelled.corpus.with_name("qrels.parquet")).to_pylist()
    for row, split in zip(qrels, queries["split"].to_pylist(), strict=True):
        if split == "test":
            row["doc_id"] = "t003"
    run_data = labelled(**relabel(tmp_path / "labels", labelled, queries, pa.Table.from_pylist(qrels)))
    assert list(run_data.tests) == [ALL] == [run_data.deciding]
    assert "may flatter" in run_data.notes[0]


def test_few_labels_only_measure(labelled: Preparer, tmp_path: Path) -> None:
    """With fewer than fifty labelled training queries no label is trained on; the verdict still rests on labels."""
    queries = pq.read_table(labelled.corpus.with_name("queries.parquet")).to_pylist()
    qrels = pq.read_table(labelled.corpus.with_name("qrels.parquet"))
    train = [row for row in queries if row["split"] == "train"]
    for kept in (MIN_LABELS - 1, MIN_LABELS):
        rows = [row for row in queries if row["split"] != "train"] + train[:kept]
        run_data = labelled(**relabel(tmp_path / str(kept), labelled, pa.Table.from_pylist(rows), qrels))
        assert (run_data.labelled is None) == (kept < MIN_LABELS)
        assert run_data.judged_by == "labels"
        assert len(run_data.tests[UNSEEN].queries) == COUNT


def test_labels_without_a_test(labelled: Preparer, tmp_path: Path) -> None:
    """With training labels but no test labels, synthetic queries judge, about documents that no training label names."""
    queries = pq.read_table(labelled.corpus.with_name("queries.parquet")).to_pylist()
    qrels = pq.read_table(labelled.corpus.with_name("qrels.parquet"))
    rng = random.Random(0)
    for row in queries:
        row["split"] = rng.choice(["train", "train", "train", "train", "dev"])
    run_data = labelled(**relabel(tmp_path / "labels", labelled, pa.Table.from_pylist(queries), qrels))
    assert run_data.judged_by == "synthetic queries"
    assert run_data.labelled is not None
    assert len(run_data.labelled.queries) >= MIN_LABELS
    assert not run_data.labelled.queries.documents & run_data.tests[UNSEEN].queries.documents
    assert UNSEEN in run_data.tests
