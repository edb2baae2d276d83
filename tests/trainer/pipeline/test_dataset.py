"""What a run learns from and what it is measured on: nothing of the exam is learned from."""

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
from trainer.pipeline.dataset import MIN_LABELS, TAKEN_OUT, RunData, prepare_data
from trainer.pipeline.settings import RunSettings
from trainer.pipeline.workspace import Workspace

COUNT = 120


class Gatherer:
    """Gathers material for an index, each time in a workshop of its own unless it is named."""

    def __init__(self, folder: Path, data: Path, corpus: Path) -> None:
        made = build(str(corpus), BuildSettings(language="en", dense_weight=0.4), data, cores=1).manifest
        self.folder, self.data, self.corpus = folder, data, corpus
        self.index = Index.open(Store("index", data).path(made.id), cores=1)
        self.count = 0

    def __call__(self, workshop: str | None = None, *, learn: bool = True, **settings: object) -> RunData:
        """Gather."""
        self.count += 1
        pool = self.folder / f"pool-{self.count}"
        pool.mkdir()
        with Workspace(self.folder / (workshop or f"workshop-{self.count}"), "ab" * 32) as place:
            options = RunSettings.model_validate(settings)
            return prepare_data(str(self.corpus), self.index, options, place, pool=pool, learn=learn)


@pytest.fixture(scope="module")
def tales(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Gatherer:
    """Gathers for 120 tales without labels."""
    folder = tmp_path_factory.mktemp("material")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    return Gatherer(folder, data, write_tales(folder / "tales.parquet", COUNT))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Gatherer:
    """Gathers for 120 tales with labels."""
    folder = tmp_path_factory.mktemp("labelled")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    return Gatherer(folder, data, write_labelled(folder / "labels", COUNT))


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return text.lower().replace(".", " ").split()


def can_be_from(query: str, text: str) -> bool:
    """Say whether all words of a query stand in a text."""
    return set(words_of(query)) <= set(words_of(text))


def relabel(folder: Path, source: Gatherer, queries: pa.Table, qrels: pa.Table) -> dict[str, Path]:
    """Write other labels about the corpus of ``source`` and return them as settings."""
    folder.mkdir()
    pq.write_table(queries, folder / "queries.parquet")
    pq.write_table(qrels, folder / "qrels.parquet")
    assert source.corpus.is_file()
    return {"qrels": folder / "qrels.parquet"}


# --- without labels -------------------------------------------------------------------------------------------------


def test_without_labels(tales: Gatherer) -> None:
    """Held-out documents are asked for in two ways; the verdict rests on key words; a note says what the figures mean."""
    found = tales()
    assert found.judged_by == "synthetic queries"
    assert set(found.tests) == {UNSEEN, TAKEN_OUT}
    assert found.deciding == UNSEEN
    assert found.supervised is None
    assert "There are no labels" in found.notes[0]
    assert found.tests[UNSEEN].index is tales.index
    assert len(found.tests[TAKEN_OUT].index) == COUNT


def test_nothing_of_the_exam_is_learned(tales: Gatherer) -> None:
    """Documents of test, dev and practice are three different sets: queries to learn from come from the third alone."""
    found = tales()
    test, dev = found.tests[UNSEEN].queries.documents, found.dev.queries.documents
    assert test and dev
    assert not test & dev
    texts = dict(zip(found.documents.ids, found.documents.texts, strict=True))
    free = [text for name, text in texts.items() if name not in test | dev]
    practised = list(found.practice.queries.texts.values())
    assert len(practised) > COUNT
    for query in practised:
        assert any(can_be_from(query, text) for text in free)
    sentences = [query for query in practised if len(words_of(query)) > 6]
    assert sentences
    for query in sentences:  # long enough to be of one document only
        assert not any(query in texts[name] for name in test | dev)
    asked = {text for test in found.tests.values() for text in test.queries.texts.values()}
    assert not asked & set(practised)


def test_the_taken_out_sentences_are_of_test_documents(tales: Gatherer) -> None:
    """Sentences are taken out of documents that are asked for in the exam, never out of those that are learned from."""
    found = tales()
    held = found.tests[UNSEEN].queries.documents
    test = found.tests[TAKEN_OUT]
    changed = {test.index.document(row).text for row in range(COUNT)} - set(found.documents.texts)
    whole = {text: name for name, text in zip(found.documents.ids, found.documents.texts, strict=True)}
    for text in changed:
        [origin] = [
            name
            for full, name in whole.items()
            if sorted([*words_of(text)]) != sorted(words_of(full)) and _without_a_sentence(text, full)
        ]
        assert origin in held


def _without_a_sentence(text: str, full: str) -> bool:
    sentences = [f"{sentence}." for sentence in full.rstrip(".").split(". ")]
    return any(" ".join(sentences[:at] + sentences[at + 1 :]) == text for at in range(len(sentences)))


def test_vectors_belong_to_their_questions(tales: Gatherer) -> None:
    """Every question has its own vector, in the order of the questions."""
    found = tales()
    encode = tales.index.encoder.encode_queries
    groups = [found.practice, found.dev, *found.tests.values()]
    for group in groups:
        texts = list(group.queries.texts.values())
        assert np.allclose(group.vectors, unit(encode(texts)), atol=1e-5)


def test_the_seed_divides(tales: Gatherer) -> None:
    """The same seed divides and draws the same, another seed other documents."""
    first, again, other = tales(), tales(), tales(seed=1)
    for part in ("practice", "dev"):
        assert getattr(first, part).queries == getattr(again, part).queries != getattr(other, part).queries
    for name in (UNSEEN, TAKEN_OUT):
        assert first.tests[name].queries == again.tests[name].queries != other.tests[name].queries


def test_titles_are_not_learned_from(tiny_data: Path, tmp_path: Path) -> None:
    """Queries are taken out of the texts: a title would be a question that nobody asks like this."""
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    table = pq.read_table(write_tales(tmp_path / "plain.parquet", 60))
    pq.write_table(
        table.append_column("title", pa.array([f"wine {n} wine" for n in range(60)])), tmp_path / "titled.parquet"
    )
    found = Gatherer(tmp_path, data, tmp_path / "titled.parquet")()
    assert not [
        query
        for query in found.practice.queries.texts.values()
        if query.startswith("wine ") and query.endswith(" wine")
    ]
    assert found.documents.titles[3] == "wine 3 wine"


def test_a_short_budget_makes_fewer_questions(tales: Gatherer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of queries follows the budget."""
    chosen = trainer.pipeline.dataset.Sizes(practice=30, dev=7, keywords=11, clozes=3)
    monkeypatch.setattr(trainer.pipeline.dataset.Sizes, "within", lambda _: chosen)
    found = tales()
    assert len(found.practice.queries) == 30
    assert len(found.dev.queries) == 7
    assert len(found.tests[UNSEEN].queries) == 11
    assert len(found.tests[TAKEN_OUT].queries) == 6


def test_what_is_finished_is_taken_up(tales: Gatherer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same workshop neither the split nor the vectors are made again, and the material is the same."""
    first = tales("same")
    monkeypatch.setattr(trainer.pipeline.dataset, "split", None)
    encode = trainer.pipeline.dataset.encode_queries
    encoded: list[str] = []
    monkeypatch.setattr(
        trainer.pipeline.dataset, "encode_queries", lambda name, *rest: encoded.append(name) or encode(name, *rest)
    )
    again = tales("same")
    assert encoded == ["encode sentences"]  # their index lives as long as the run
    assert again.practice.queries == first.practice.queries
    assert np.array_equal(again.practice.vectors, first.practice.vectors)
    assert np.array_equal(again.tests[UNSEEN].vectors, first.tests[UNSEEN].vectors)


def test_only_measuring(tales: Gatherer) -> None:
    """Where nothing is to be learned, nothing is made to learn from; the exam is the same."""
    found = tales(learn=False)
    assert not len(found.practice.queries)
    assert found.tests[UNSEEN].queries == tales().tests[UNSEEN].queries


@pytest.mark.parametrize(
    "texts", [["The cat sits."], ["The cat sits."] * 40, [f"{'.' * number} !" for number in range(1, 50)]]
)
def test_a_corpus_that_gives_no_questions(tiny_data: Path, tmp_path: Path, texts: list[str]) -> None:
    """A single document, copies of one, or no words at all: nothing can be held out and asked for, which is said."""
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    corpus = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"id": [str(number) for number in range(len(texts))], "text": texts}), corpus)
    with pytest.raises(UserError, match=rf"its {len(texts)} documents give no question for .*give more documents"):
        Gatherer(tmp_path, data, corpus)()


# --- with labels ----------------------------------------------------------------------------------------------------


def test_with_labels(labelled: Gatherer) -> None:
    """Labels judge: train is learned from, dev chooses, test decides; no synthetic question is in the exam."""
    found = labelled(qrels=labelled.corpus.with_name("qrels.parquet"))
    assert found.judged_by == "labels"
    assert found.supervised is not None
    assert list(found.tests) == [UNSEEN]  # the splits share no document
    assert found.deciding == UNSEEN
    numbers = {
        name: {int(document[1:]) for document in part.documents}
        for name, part in (
            ("train", found.supervised.queries), ("dev", found.dev.queries), ("test", found.tests[UNSEEN].queries)
        )
    }  # fmt: skip
    assert numbers["test"] == set(range(0, COUNT, 2))
    assert numbers["dev"] == set(range(1, COUNT, 8))
    assert numbers["train"] == set(range(COUNT)) - numbers["test"] - numbers["dev"]
    assert found.notes == []


def test_practice_leaves_the_labelled_exam_alone(labelled: Gatherer) -> None:
    """Also what is learned without labels is not taken out of documents that answer a question of test or dev."""
    found = labelled(qrels=labelled.corpus.with_name("qrels.parquet"))
    texts = dict(zip(found.documents.ids, found.documents.texts, strict=True))
    exam = found.tests[UNSEEN].queries.documents | found.dev.queries.documents
    free = [text for name, text in texts.items() if name not in exam]
    assert len(free) == COUNT - len(exam)
    for query in found.practice.queries.texts.values():
        assert any(can_be_from(query, text) for text in free)


def test_documents_that_were_trained_on(labelled: Gatherer, tmp_path: Path) -> None:
    """Where test questions share documents with train, there are two groups, and the verdict rests on the unseen ones."""
    queries = pq.read_table(labelled.corpus.with_name("queries.parquet"))
    qrels = pq.read_table(labelled.corpus.with_name("qrels.parquet")).to_pylist()
    for row in qrels[:40:4]:  # of documents 0, 2, 4 …, which are the test's: their first query
        row["doc_id"] = "t003"
    found = labelled(**relabel(tmp_path / "labels", labelled, queries, pa.Table.from_pylist(qrels)))
    assert set(found.tests) == {ALL, UNSEEN}
    everything, unseen = found.tests[ALL].queries, found.tests[UNSEEN].queries
    assert len(everything) == COUNT
    assert len(unseen) == COUNT - 10
    assert "t003" not in unseen.documents
    assert found.deciding == UNSEEN


def test_all_documents_were_trained_on(labelled: Gatherer, tmp_path: Path) -> None:
    """Where every test question is about a trained document, they decide all the same, and a note warns."""
    queries = pq.read_table(labelled.corpus.with_name("queries.parquet"))
    qrels = pq.read_table(labelled.corpus.with_name("qrels.parquet")).to_pylist()
    for row, split in zip(qrels, queries["split"].to_pylist(), strict=True):
        if split == "test":
            row["doc_id"] = "t003"
    found = labelled(**relabel(tmp_path / "labels", labelled, queries, pa.Table.from_pylist(qrels)))
    assert list(found.tests) == [ALL] == [found.deciding]
    assert "may flatter" in found.notes[0]


def test_few_labels_only_measure(labelled: Gatherer, tmp_path: Path) -> None:
    """With fewer than fifty labelled queries in train nothing is learned from them; they judge still."""
    queries = pq.read_table(labelled.corpus.with_name("queries.parquet")).to_pylist()
    qrels = pq.read_table(labelled.corpus.with_name("qrels.parquet"))
    train = [row for row in queries if row["split"] == "train"]
    for kept in (MIN_LABELS - 1, MIN_LABELS):
        rows = [row for row in queries if row["split"] != "train"] + train[:kept]
        found = labelled(**relabel(tmp_path / str(kept), labelled, pa.Table.from_pylist(rows), qrels))
        assert (found.supervised is None) == (kept < MIN_LABELS)
        assert found.judged_by == "labels"
        assert len(found.tests[UNSEEN].queries) == COUNT


def test_labels_without_a_test(labelled: Gatherer, tmp_path: Path) -> None:
    """Labels to learn from and none to judge by: synthetic questions judge, about documents that no label has taught."""
    queries = pq.read_table(labelled.corpus.with_name("queries.parquet")).to_pylist()
    qrels = pq.read_table(labelled.corpus.with_name("qrels.parquet"))
    chance = random.Random(0)
    for row in queries:
        row["split"] = chance.choice(["train", "train", "train", "train", "dev"])
    found = labelled(**relabel(tmp_path / "labels", labelled, pa.Table.from_pylist(queries), qrels))
    assert found.judged_by == "synthetic queries"
    assert found.supervised is not None
    assert len(found.supervised.queries) >= MIN_LABELS
    assert not found.supervised.queries.documents & found.tests[UNSEEN].queries.documents
    assert UNSEEN in found.tests
