"""Rounds of `trainer compare`: how many documents they have, which models take part, and what a budget does."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from tales import write_labelled, write_tales

from indexer.artifacts.store import Store
from indexer.corpus.corpus import Corpus
from indexer.inference.encoder import Encoder
from trainer.data.labels import load_labels
from trainer.pipeline.bases import halving
from trainer.pipeline.bases.candidate import TIMED_DOCUMENTS
from trainer.pipeline.bases.choice import Ballot
from trainer.pipeline.bases.compare import compare_bases
from trainer.pipeline.bases.halving import FIRST, LEAST, Round, by_model, next_size, survivors
from trainer.pipeline.bases.measures import Measured
from trainer.pipeline.bases.questions import take_words
from trainer.pipeline.bases.result import BaseComparison, table
from trainer.pipeline.bases.sample import draw_sample
from trainer.pipeline.settings import CompareSettings

SETTINGS = CompareSettings(language="en", max_cost=100)
COUNT = 200


@pytest.fixture(scope="module")
def tales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a corpus of tales."""
    return write_tales(tmp_path_factory.mktemp("tales") / "tales.parquet", COUNT)


def round_of(*gains: float, documents: int = 100, models: list[int] | None = None) -> Round:
    """Return a round in which each model is better than the first one by so much, with a standard error of about .014."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.3, 0.7, 200)
    values = [base] + [base + gain + rng.normal(0, 0.2, 200) for gain in gains]
    ballot = Ballot(1.0, [Measured(each, each) for each in values], list(range(200)))
    return Round(documents, models or list(range(len(values))), {"neighbours": ballot})


def record_texts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return where the texts that each model encodes from now on are recorded, by id of the model."""
    encoded: dict[str, list[str]] = defaultdict(list)
    original = Encoder.encode_documents

    def recorded(self: Encoder, texts: list[str], **options: bool) -> np.ndarray:
        encoded[self.folder.name] += texts
        return original(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode_documents", recorded)
    return encoded


def timed(result: BaseComparison) -> int:
    """Return how many passages a model encodes again at most, to measure its speed."""
    return TIMED_DOCUMENTS * math.ceil(2 * result.models[0].cost.passages_per_document)


@pytest.mark.parametrize(
    ("gains", "kept"),
    [
        ((0.0, 0.0), [0, 1, 2]),
        ((0.0, -0.2), [0, 1]),
        ((-0.2, -0.2), [0]),
        ((0.2, -0.2), [0]),
        ((0.2, 0.0), [0, 1, 2]),
        ((0.2, 0.2), [0, 1, 2]),
    ],
)
def test_models_of_the_next_round(gains: tuple[float, ...], kept: list[int]) -> None:
    """What is certainly worse is left out; with one certain winner and nothing undecided, or no rival, it is over."""
    assert survivors(round_of(*gains), 0, 0) == kept


def test_a_model_keeps_its_last_round() -> None:
    """A model that was left out has the figures of the round after which it was."""
    rounds = [round_of(0.0, -0.2, documents=50), round_of(0.0, documents=100, models=[0, 1])]
    assert [each.documents for each in by_model(rounds, 3)] == [100, 100, 50]
    assert rounds[0].only([0, 2]).ballots["neighbours"].models[1] is rounds[0].ballots["neighbours"].models[2]


@pytest.mark.parametrize(
    ("done", "limit", "seconds", "size"),
    [
        (0, 2000, math.inf, FIRST),
        (0, 100, math.inf, 100),
        (0, 2000, 100.0, int(100 * halving.DOCUMENT_SHARE)),
        (0, 2000, -5.0, LEAST),
        (256, 2000, math.inf, 512),
        (256, 300, math.inf, 300),
        (256, 2000, 200.0, 256 + int(200 * halving.DOCUMENT_SHARE)),
        (256, 2000, 20.0, 256),
        (2000, 2000, math.inf, 2000),
    ],
)
def test_size_of_a_round(done: int, limit: int, seconds: float, size: int) -> None:
    """A round has twice as many documents as the last, at most what the budget allows, and is not worth a few more."""
    assert next_size(done, limit, seconds, 1.0) == size


def test_the_first_documents_are_the_same_in_every_round(tales: Path) -> None:
    """A question about the first documents is one in a larger sample, too, and no question asks for a later document."""
    sample = draw_sample(Corpus.check(str(tales)), "en", None, None, 0)
    material = take_words(sample, 0)
    small, large = material.questions(80, 0), material.questions(160, 0)
    assert 0 < len(small["sentences"]) < len(large["sentences"])
    assert set(small["sentences"].texts) <= set(large["sentences"].texts)
    for questions in small.values():
        assert max(max(answers) for answers in questions.answers) < 80
    assert draw_sample(Corpus.check(str(tales)), "en", None, None, 0) == sample
    assert sample.documents.ids != sorted(sample.documents.ids), "a beginning of the sample is a sample of the corpus"


def test_each_beginning_of_the_sample_answers_queries(tmp_path: Path) -> None:
    """With labels two thirds of the first documents answer queries; queries without such a document are not asked."""
    path = write_labelled(tmp_path / "labelled", 120)
    sample = draw_sample(Corpus.check(str(path)), "en", 60, load_labels(path.with_name("qrels.parquet"), None), 0)
    assert sample.labelled is not None
    answering = [document in sample.labelled.documents for document in sample.documents.ids]
    assert sum(answering[:30]) == 20
    assert 0 < len(take_words(sample, 0).questions(30, 0)["labels"]) < len(sample.labelled)


def test_rounds_of_three_models(
    tiny_model: Path, blind_model: Path, tales: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blind model is left out after a small sample, the twin is undecided to the end; no text is encoded twice."""
    monkeypatch.setattr(halving, "FIRST", 100)
    twin = Path(shutil.copytree(tiny_model, tmp_path / "twin"))
    (twin / "README.md").write_text("another file, so another artifact", encoding="utf-8")
    encoded = record_texts(monkeypatch)
    live = Store("model", data).resolve().name
    result = compare_bases(str(tales), [live, str(blind_model), str(twin)], SETTINGS, data)
    assert result.rounds == [100, 200] and result.sample == 200
    assert [model.sample for model in result.models] == [200, 100, 200]
    assert not result.decided and result.choice == live
    assert table(result)[2].endswith("left out after 100 documents")
    assert result.models[1].total["dense"].high < 0
    of_live, of_blind = encoded[live], encoded[result.models[1].id]
    assert len(of_live) - len(set(of_live)) <= timed(result), "only texts for timing are encoded again"
    assert len(set(of_blind)) < 0.7 * len(set(of_live))


def test_a_budget_ends_it_and_more_of_it_continues(
    tiny_model: Path, tales: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the time is over it says so and what gives more; with a larger budget the vectors are taken up."""
    twin = Path(shutil.copytree(tiny_model, tmp_path / "twin"))
    (twin / "README.md").write_text("another file, so another artifact", encoding="utf-8")
    models = [Store("model", data).resolve().name, str(twin)]
    encoded = record_texts(monkeypatch)
    short = compare_bases(str(tales), models, SETTINGS.model_copy(update={"budget": "0.01s"}), data)
    assert short.rounds == [LEAST] and not short.decided
    assert any("--budget" in reason for reason in short.reasons)
    whole = compare_bases(str(tales), models, SETTINGS.model_copy(update={"budget": "1h"}), data)
    assert whole.rounds == [LEAST, 2 * LEAST, COUNT]
    assert not any("--budget" in reason for reason in whole.reasons)
    texts = encoded[models[0]]
    assert len(texts) - len(set(texts)) <= timed(short) + timed(whole)
