"""Grouped ranking: a text is encoded once however many rows have it, and the rows of a text stay together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from stories import WORDS
from tests_support import make_tiny_model

from trainer.finetune.grouped import GroupedBatchSampler, GroupedNegativesLoss
from trainer.pipeline.layers import neighbourhoods
from trainer.training.base_model import load_base_model

QUERIES = [f"{WORDS[row]} {WORDS[row + 20]}" for row in range(6)]
PASSAGES = [f"{WORDS[row]} of the {WORDS[row + 3]}" for row in range(6)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    """A tiny encoder, without dropout."""
    return load_base_model(make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")).eval()


def loss_of(loss: torch.nn.Module, model: SentenceTransformer, queries: list[str], passages: list[str]) -> torch.Tensor:
    """Return the loss of one batch."""
    features = [model.preprocess(queries), model.preprocess(passages)]
    found: torch.Tensor = loss(features, None)
    return found


def test_without_repetitions_it_is_the_librarys_loss(model: SentenceTransformer) -> None:
    """Where every text is there once, grouping changes nothing: the value is that of multiple negatives ranking."""
    ours = loss_of(GroupedNegativesLoss(model, 20.0), model, QUERIES, PASSAGES)
    theirs = loss_of(MultipleNegativesRankingLoss(model, scale=20.0), model, QUERIES, PASSAGES)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_queries_of_one_passage_are_no_negatives_of_each_other(
    model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six queries of two passages: each chooses between two passages, and only two are encoded."""
    encoded: list[int] = []
    forward = model.forward

    def counting(features: dict[str, torch.Tensor], **rest: object) -> dict[str, torch.Tensor]:
        encoded.append(len(features["input_ids"]))
        return forward(features, **rest)

    monkeypatch.setattr(model, "forward", counting)
    passages = [PASSAGES[row % 2] for row in range(6)]
    found = loss_of(GroupedNegativesLoss(model, 20.0), model, QUERIES, passages)
    assert encoded == [6, 2]
    asked, offered = (torch.tensor(model.encode(texts)) for texts in (QUERIES, PASSAGES[:2]))
    scores = torch.nn.functional.normalize(asked) @ torch.nn.functional.normalize(offered).T * 20
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(6) % 2)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_second_answer_is_no_negative(model: SentenceTransformer) -> None:
    """A query with two answers is not pushed away from either: alone in the batch there is nothing to lose."""
    found = loss_of(GroupedNegativesLoss(model, 20.0), model, [QUERIES[0]] * 2, PASSAGES[:2])
    assert found.item() == pytest.approx(0.0, abs=1e-6)


@pytest.fixture
def sampler() -> GroupedBatchSampler:
    """Forty passages with one to four queries each, in ten neighbourhoods."""
    rows = [(passage, passage // 4) for passage in range(40) for _ in range(1 + passage % 4)]
    dataset = Dataset.from_dict(
        {"query": [str(row) for row in range(len(rows))], "positive": [str(p) for p, _ in rows]}
    )
    near = [number for _, number in rows]
    return GroupedBatchSampler(dataset, 8, drop_last=False, seed=5, neighbourhoods=near)


def test_batches_hold_whole_groups(sampler: GroupedBatchSampler) -> None:
    """Every row is in one batch, all queries of a passage are in the same, and neighbours mostly are."""
    batches = list(sampler)
    assert sorted(row for batch in batches for row in batch) == list(range(100))
    assert len(sampler) == len(batches) == 5
    passages = [np.repeat(np.arange(40), 1 + np.arange(40) % 4)[batch] for batch in batches]
    assert [len(set(batch)) for batch in passages] == [8] * 5
    assert [len(set(batch // 4)) for batch in passages] == [2] * 5


def test_another_epoch_is_another_order_and_the_same_seed_the_same(sampler: GroupedBatchSampler) -> None:
    """A run that goes on sees the batches that it would have seen; the next epoch sees others."""
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    assert first == again != list(sampler)


def test_neighbourhoods_hold_what_lies_near() -> None:
    """Vectors around five centres form five groups; none is larger than the limit, and every vector is in one."""
    chance = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)[:5]
    vectors = np.repeat(centres, 6, axis=0) + chance.normal(0, 0.02, (30, 8)).astype(np.float32)
    numbers = neighbourhoods(vectors, 6, seed=1)
    assert [len(set(numbers[start : start + 6])) for start in range(0, 30, 6)] == [1] * 5
    assert sorted(set(numbers.tolist())) == list(range(5))
    assert np.bincount(neighbourhoods(vectors, 4, seed=1)).max() == 4


def test_one_vector_is_a_group() -> None:
    """A single vector is a group of its own."""
    assert neighbourhoods(np.ones((1, 3), dtype=np.float32), 8, seed=0).tolist() == [0]
