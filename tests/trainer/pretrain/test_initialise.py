"""Initialisation of a new BERT: before its first step it recognises segments of one topic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertForPreTraining

from trainer.pretrain.batches import Batch, Batcher, Masker, SpecialIds
from trainer.pretrain.examples import Recipe
from trainer.pretrain.initialise import cooccurrence_vectors, initialise_nsp_head, initialise_segment_comparison
from trainer.pretrain.model import new_model, set_dropout
from trainer.pretrain.objective import Objective
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.tokens import Tokens, count_frequencies

CLS, SEP, MASK, FIRST = 2, 3, 4, 5
TOPICS, WORDS, COMMON = 12, 10, 8
VOCABULARY = FIRST + COMMON + TOPICS * WORDS
SIZES = PretrainSettings(layers=2, hidden=64, heads=2, max_length=64, vocab_size=192)


@pytest.fixture(scope="module")
def corpus() -> Tokens:
    """Documents of one topic each, in sentences of ten words, half of which are common to all topics."""
    chance = np.random.default_rng(5)
    topics = np.repeat(chance.integers(0, TOPICS, 800), 60)
    own = FIRST + COMMON + topics * WORDS + chance.integers(0, WORDS, len(topics))
    common = FIRST + chance.integers(0, COMMON, len(topics))
    tokens = np.where(chance.random(len(topics)) < 0.5, own, common).astype(np.uint16)
    starts = np.arange(0, len(tokens) + 1, 10)
    return Tokens(tokens, starts, (np.arange(len(starts) - 1) // 6).astype(np.int32))


@pytest.fixture
def model(corpus: Tokens) -> BertForPreTraining:
    """Return a new model that has counted and has not been trained."""
    share = np.log(count_frequencies(corpus, VOCABULARY))
    made = new_model(SIZES, share, cooccurrence_vectors(corpus, VOCABULARY, 64, 0), 0)
    set_dropout(made, 0)
    return made


def some(corpus: Tokens, seed: int) -> list[Batch]:
    """Return a few batches."""
    masker = Masker(MASK, np.arange(FIRST, VOCABULARY), np.zeros(VOCABULARY, dtype=bool))
    stream = Batcher(corpus, SpecialIds(0, CLS, SEP), masker, nsp=True).stream(
        Recipe(64, nsp=True, seed=seed), 2048, None
    )
    return [next(stream)[1] for _ in range(12)]


def right(model: BertForPreTraining, batches: list[Batch]) -> float:
    """Return how often the model knows whether one segment follows the other."""
    objective = Objective(model, nsp=True)
    return torch.cat([objective.evaluate(batch).nsp_correct for batch in batches]).float().mean().item()


def test_it_tells_what_follows_before_it_is_trained(corpus: Tokens, model: BertForPreTraining) -> None:
    """Segments of one topic belong together: it says so of other examples than those that set the level."""
    share = np.log(count_frequencies(corpus, VOCABULARY))
    others = some(corpus, seed=2)
    before = right(model, others)
    coordinate = initialise_segment_comparison(model, share, CLS)
    assert coordinate is not None
    initialise_nsp_head(model, coordinate, some(corpus, seed=1))
    assert before < 0.65
    assert right(model, others) > 0.85
    unigram = -share[torch.cat([batch.labels for batch in others]).numpy()].mean()
    objective = Objective(model, nsp=True)
    masked = torch.cat([objective.evaluate(batch).mlm for batch in others]).mean()
    assert masked < unigram, "what it knows of words is still there"


def test_all_pieces_are_equally_long(model: BertForPreTraining) -> None:
    """So no common piece outshouts the others behind the normalisation; a width of 64 makes 0.04 · 8."""
    lengths = model.bert.embeddings.word_embeddings.weight.norm(dim=1)
    assert torch.allclose(lengths, torch.full_like(lengths, 0.32), atol=1e-5)


@pytest.mark.parametrize("sizes", [{"heads": 1}, {"hidden": 32}, {"intermediate": 16}])
def test_too_small_a_model_compares_nothing(corpus: Tokens, sizes: dict[str, int]) -> None:
    """One head cannot read two segments, and a few directions tell no topics apart: such a model stays as it was."""
    share = np.log(count_frequencies(corpus, VOCABULARY))
    settings = SIZES.model_copy(update=sizes)
    made = new_model(settings, share, cooccurrence_vectors(corpus, VOCABULARY, settings.hidden, 0), 0)
    before = {name: weight.clone() for name, weight in made.named_parameters()}
    assert initialise_segment_comparison(made, share, CLS) is None
    assert all(torch.equal(weight, before[name]) for name, weight in made.named_parameters())
