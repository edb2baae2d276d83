"""Exam questions without labels: about held-out documents only, and what is asked is gone where it has to be."""

from __future__ import annotations

import random
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
from trainer.queries.synthetic import ClozePool, Documents, cloze_queries, halves, keyword_queries

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


def test_key_words_are_the_document_s_own(documents: Documents) -> None:
    """Every question is about one of the given documents, asks for some of its words, and knows it as the answer."""
    found = keyword_queries(documents, HELD, 1_000, 0)
    assert len(found) > len(HELD)
    assert found.documents == {documents.ids[row] for row in HELD}
    assert found.texts.keys() == found.qrels.keys()
    for query, text in found.texts.items():
        [(answer, relevance)] = found.qrels[query].items()
        assert relevance == 1
        assert query.startswith(f"{answer}/")
        words = set(documents.texts[documents.ids.index(answer)].lower().replace(".", " ").split())
        assert set(text.lower().split()) <= words
        assert len(text.split()) >= 2


def test_no_more_key_words_than_were_asked_for(documents: Documents) -> None:
    """Of too many questions some are drawn, by the seed, from all documents alike."""
    most = keyword_queries(documents, HELD, 20, 0)
    assert len(most) == 20
    assert len(most.documents) > 8
    assert keyword_queries(documents, HELD, 20, 0) == most
    assert keyword_queries(documents, HELD, 20, 1) != most
    assert most.texts.items() <= keyword_queries(documents, HELD, 1_000, 0).texts.items()


def test_no_documents_no_key_words(documents: Documents) -> None:
    """Where nothing is held out there is nothing to ask."""
    assert not len(keyword_queries(documents, [], 10, 0))


# --- halves ---------------------------------------------------------------------------------------------------------


def test_halves_of_a_sentence() -> None:
    """Each word is in exactly one half, in the order of the sentence; the halves are as long, and drawn by chance."""
    words = [f"w{number:02}" for number in range(9)]
    drawn = set()
    for seed in range(20):
        one, other = (half.split() for half in halves(" ".join(words), random.Random(seed)))
        assert sorted([*one, *other]) == words
        assert one == sorted(one)
        assert other == sorted(other)
        assert {len(one), len(other)} == {4, 5}
        drawn.add(tuple(one))
    assert len(drawn) > 15


@pytest.mark.parametrize("sentence", ["猫は庭に座っている。", "one two three", "ab"])
def test_halves_without_words(sentence: str) -> None:
    """What has hardly a space in it is cut in the middle."""
    one, other = halves(sentence, random.Random(0))
    assert one + other == sentence
    assert abs(len(one) - len(other)) <= 1


# --- sentences taken out --------------------------------------------------------------------------------------------


def test_what_is_asked_is_gone(index: Index, documents: Documents, tmp_path: Path) -> None:
    """Both halves of a sentence ask for the document that has lost it; all other documents are as they were."""
    found = cloze(index, documents, tmp_path)
    assert len(found.queries) == 2 * 12
    assert len(found.index) == COUNT  # a small corpus is the pool as a whole
    assert found.ids == [found.index.document(row).id for row in range(COUNT)]
    texts = [found.index.document(row).text for row in range(COUNT)]
    answers = found.queries.documents
    assert len(answers) == 12
    for answer in answers:
        place = found.ids.index(answer)
        whole, rest = documents.texts[HELD[place]], texts[place]  # the held-out documents come first
        asked = [found.queries.texts[f"{answer}/{half}"] for half in (0, 1)]
        assert all(found.queries.qrels[f"{answer}/{half}"] == {answer: 1} for half in (0, 1))
        assert sorted(" ".join([*asked, rest]).split()) == sorted(whole.split())
        assert not any(half in rest for half in asked)
    changed = {HELD[found.ids.index(answer)] for answer in answers}
    untouched = [documents.texts[row] for row in range(COUNT) if row not in changed]
    assert sorted(set(texts) & set(documents.texts)) == sorted(untouched)


def test_vectors_of_the_pool(index: Index, documents: Documents, tmp_path: Path) -> None:
    """Only the documents that lost a sentence are encoded; the vectors are those of the pool's own passages."""
    found = cloze(index, documents, tmp_path)
    counts = found.index.manifest.counts
    assert 0 < counts["embedded"] <= 3 * 12 < counts["reused"]
    rows = found.index.document_of.tolist()
    texts = []
    for passage, row in enumerate(rows):
        document = found.index.document(row)
        texts.append(encoder_input(document.title, document.text[slice(*found.index.passage_offsets(passage))]))
    own = unit(index.encoder.encode_documents(texts))
    assert np.einsum("ij,ij->i", own, found.index.dense.vectors(np.arange(len(rows)))).min() > 0.999


def test_a_pool_of_a_large_corpus(
    index: Index, documents: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the held-out documents only so many others are drawn, none of them twice."""
    monkeypatch.setattr(trainer.queries.synthetic, "POOL_DOCUMENTS", 50)
    found = cloze(index, documents, tmp_path)
    assert len(found.index) == 50
    texts = [found.index.document(row).text for row in range(50)]
    others = set(documents.texts) - {documents.texts[row] for row in HELD}
    assert len(others & set(texts)) == 50 - len(HELD)
    monkeypatch.setattr(trainer.queries.synthetic, "POOL_DOCUMENTS", 5)
    assert len(cloze(index, documents, tmp_path / "small").index) == len(HELD)


def test_the_seed_takes_out(index: Index, documents: Documents, tmp_path: Path) -> None:
    """The same seed gives the same questions, another one others."""
    questions = [
        cloze(index, documents, tmp_path / str(number), count=5, seed=seed).queries
        for number, seed in enumerate((0, 0, 1))
    ]
    assert questions[0] == questions[1] != questions[2]


def test_documents_without_sentences(index: Index, documents: Documents, tmp_path: Path) -> None:
    """Where no text is long enough there are no questions; the index is there all the same."""
    short = Documents(documents.ids, documents.titles, ["Too short."] * COUNT)
    found = cloze(index, short, tmp_path)
    assert not len(found.queries)
    assert len(found.index) == COUNT
