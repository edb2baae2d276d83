"""Neighbour questions: sentences that ask for the documents near their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tales import write_tales

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.build.weights.neighbour_questions import agreed, make_neighbour_questions, without
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever


@pytest.fixture(scope="module")
def tales(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Index:
    """An index of tales."""
    corpus = write_tales(tmp_path_factory.mktemp("tales") / "corpus.parquet", 120)
    data = Path(shutil.copytree(tiny_data, tmp_path_factory.mktemp("neighbours") / "data"))
    manifest = build(str(corpus), BuildSettings(dense_weight=0.5), data).manifest
    return Index.open(Store("index", data).path(manifest.id), cores=1)


def test_both_rankings_have_to_agree() -> None:
    """A right answer is near the top of both rankings; the source is none, and does not count as a rank."""
    assert agreed([7, 1, 2, 3], [2, 7, 1, 9], source=7) == (1, 2)
    assert agreed([7, 1], [7, 2], source=7) == ()
    assert agreed(list(range(1, 51)), [0, *range(50, 0, -1)], source=0) == ()


def test_answers_are_other_documents(tales: Index) -> None:
    """Each question is a sentence of its source, which does not answer it."""
    questions = make_neighbour_questions(tales, range(tales.rows), 40, seed=0)
    assert 20 <= len(questions) <= 40
    for question in questions:
        assert question.text in " ".join(tales.document(question.source).text.split())
        assert question.answers and question.source not in question.answers
    assert questions == make_neighbour_questions(tales, range(tales.rows), 40, seed=0)
    assert questions != make_neighbour_questions(tales, range(tales.rows), 40, seed=1)


def test_the_source_is_left_out(tales: Index) -> None:
    """A search without the source returns everything else."""
    question = make_neighbour_questions(tales, range(tales.rows), 1, seed=3)[0]
    found = Retriever(tales).search(question.text, candidates=tales.rows).rows.tolist()
    left = Retriever(tales).search(question.text, candidates=tales.rows, allowed=without(tales, question.source)).rows
    assert question.source in found
    assert sorted(left.tolist()) == sorted(set(found) - {question.source})


def test_other_encoders_can_choose_the_neighbours(tales: Index) -> None:
    """The dense neighbours can be given, such as those of several encoders together."""
    questions = make_neighbour_questions(tales, [0], 1, seed=0, nearest=lambda _row: [])
    assert questions == []
