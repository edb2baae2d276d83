"""Synthetic test queries: they are about held-out documents, and cloze sentences are removed from their documents."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tales import write_tales

import trainer.queries.synthetic
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.inference.passages import encoder_input
from trainer.queries.synthetic import ClozePool, Documents, cloze_queries, keyword_queries

COUNT = 80
HELD = list(range(3, COUNT, 4))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """The tiny model, with an index of 80 tales beside it."""
    folder = tmp_path_factory.mktemp("synthetic")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    corpus = write_tales(folder / "tales.parquet", COUNT)
    build(str(corpus), BuildSettings(language="en", dense_weight=0.4), data, cores=1)
    return Store("model", data).resolve()


@pytest.fixture(scope="module")
def index(model: Path) -> Index:
    """The index of the tales."""
    return Index.open(Store("index", model.parents[1]).resolve(), cores=1)


@pytest.fixture(scope="module")
def documents(index: Index) -> Documents:
    """The tales."""
    return Documents.of(index)


def cloze(index: Index, documents: Documents, folder: Path, count: int = 12, seed: int = 0) -> ClozePool:
    """Take sentences out of the held-out tales."""
    folder.mkdir(exist_ok=True)
    return cloze_queries(index, documents, HELD, folder=folder, count=count, seed=seed)


# --- documents ------------------------------------------------------------------------------------------------------


def test_documents_of_an_index(index: Index, documents: Documents, built_data: Path) -> None:
    """Ids, titles and texts are those of the rows of the index."""
    assert documents.ids == [f"t{row:03}" for row in range(COUNT)]
    assert documents.texts[17] == index.document(17).text
    assert documents.titles == [None] * COUNT
    stories = Documents.of(Index.open(Store("index", built_data).resolve(), cores=1))
    assert stories.titles == ["The cat", "The dog", "The sailor", None, "Winter", "The horse"]


# --- key words ------------------------------------------------------------------------------------------------------


def test_key_words_are_of_their_document(documents: Documents) -> None:
    """Every query has words of one of the given documents, which is its only answer."""
    queries = keyword_queries(documents, HELD, 1_000, 0)
    assert len(queries) > len(HELD)
    assert queries.documents == {documents.ids[row] for row in HELD}
    assert queries.texts.keys() == queries.qrels.keys()
    for query, text in queries.texts.items():
        [(answer, relevance)] = queries.qrels[query].items()
        assert relevance == 1
        assert query.startswith(f"{answer}/")
        words = set(documents.texts[documents.ids.index(answer)].lower().replace(".", " ").split())
        assert set(text.lower().split()) <= words
        assert len(text.split()) >= 2


def test_the_number_of_keyword_queries_is_limited(documents: Documents) -> None:
    """Of too many queries some are drawn at random, by the seed, from all documents."""
    limited = keyword_queries(documents, HELD, 20, 0)
    assert len(limited) == 20
    assert len(limited.documents) > 8
    assert keyword_queries(documents, HELD, 20, 0) == limited
    assert keyword_queries(documents, HELD, 20, 1) != limited
    assert limited.texts.items() <= keyword_queries(documents, HELD, 1_000, 0).texts.items()


def test_no_documents_no_key_words(documents: Documents) -> None:
    """Without held-out documents there are no queries."""
    assert not len(keyword_queries(documents, [], 10, 0))


# --- sentences taken out --------------------------------------------------------------------------------------------


def test_cloze_sentences_are_removed(index: Index, documents: Documents, tmp_path: Path) -> None:
    """Both halves of a sentence are queries for the document that lost it; all other documents are unchanged."""
    pool = cloze(index, documents, tmp_path)
    assert len(pool.queries) == 2 * 12
    assert len(pool.index) == COUNT  # a small corpus is the pool
    assert pool.ids == [pool.index.document(row).id for row in range(COUNT)]
    texts = [pool.index.document(row).text for row in range(COUNT)]
    answers = pool.queries.documents
    assert len(answers) == 12
    for answer in answers:
        row = pool.ids.index(answer)
        original, remaining = documents.texts[HELD[row]], texts[row]  # the held-out documents come first
        queries = [pool.queries.texts[f"{answer}/{half}"] for half in (0, 1)]
        assert all(pool.queries.qrels[f"{answer}/{half}"] == {answer: 1} for half in (0, 1))
        assert sorted(" ".join([*queries, remaining]).split()) == sorted(original.split())
        assert not any(half in remaining for half in queries)
    changed = {HELD[pool.ids.index(answer)] for answer in answers}
    untouched = [documents.texts[row] for row in range(COUNT) if row not in changed]
    assert sorted(set(texts) & set(documents.texts)) == sorted(untouched)


def test_vectors_of_the_pool(index: Index, documents: Documents, tmp_path: Path) -> None:
    """Only documents that lost a sentence are encoded; the vectors are those of the pool's passages."""
    pool = cloze(index, documents, tmp_path)
    counts = pool.index.manifest.counts
    assert 0 < counts["embedded"] <= 3 * 12 < counts["reused"]
    rows = pool.index.document_of.tolist()
    texts = []
    for passage, row in enumerate(rows):
        document = pool.index.document(row)
        texts.append(encoder_input(document.title, document.text[slice(*pool.index.passage_offsets(passage))]))
    own = unit(index.encoder.encode_documents(texts))
    assert np.einsum("ij,ij->i", own, pool.index.dense.vectors(np.arange(len(rows)))).min() > 0.999


def test_a_pool_of_a_large_corpus(
    index: Index, documents: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the held-out documents a limited number of others is drawn, none of them twice."""
    monkeypatch.setattr(trainer.queries.synthetic, "POOL_DOCUMENTS", 50)
    pool = cloze(index, documents, tmp_path)
    assert len(pool.index) == 50
    texts = [pool.index.document(row).text for row in range(50)]
    others = set(documents.texts) - {documents.texts[row] for row in HELD}
    assert len(others & set(texts)) == 50 - len(HELD)
    monkeypatch.setattr(trainer.queries.synthetic, "POOL_DOCUMENTS", 5)
    assert len(cloze(index, documents, tmp_path / "small").index) == len(HELD)


def test_the_seed_takes_out(index: Index, documents: Documents, tmp_path: Path) -> None:
    """The same seed gives the same queries, another seed others."""
    queries = [
        cloze(index, documents, tmp_path / str(number), count=5, seed=seed).queries
        for number, seed in enumerate((0, 0, 1))
    ]
    assert queries[0] == queries[1] != queries[2]


def test_documents_without_sentences(index: Index, documents: Documents, tmp_path: Path) -> None:
    """Where no text is long enough there are no queries, but there is an index."""
    short = Documents(documents.ids, documents.titles, ["Too short."] * COUNT)
    pool = cloze(index, short, tmp_path)
    assert not len(pool.queries)
    assert len(pool.index) == COUNT
