"""Model that pre-training starts from: counted statistics or a directory; and that its loss is BERT's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from tales import write_tales
from tests_support import make_tiny_model
from transformers import AutoConfig, AutoTokenizer, BertForPreTraining

from indexer.errors import UserError
from trainer.pretrain.batches import Batch, Batcher, Masker, SpecialIds
from trainer.pretrain.examples import DataPosition, Recipe
from trainer.pretrain.initialise import cooccurrence_vectors
from trainer.pretrain.model import load_checkpoint, new_model, set_dropout
from trainer.pretrain.objective import Objective
from trainer.pretrain.report import operations_per_token, peak_operations
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.tokens import Tokens, TokenWriter, count_frequencies, learn_wordpiece

SMALL = PretrainSettings(layers=2, hidden=32, heads=2, max_length=64, vocab_size=256)

LETTERS = "abcdefghijklmnopqrstuvwxyz.,"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokens, int]:
    """A thousand tales as token ids, and the size of their vocabulary."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = pq.read_table(write_tales(folder / "tales.parquet", 1000))["text"].to_pylist()
    tokenizer = learn_wordpiece([texts], [*LETTERS], vocab_size=256, lowercase=True, strip_accents=True)
    with TokenWriter(folder / "tokens", tokenizer) as writer:
        writer.add([[text] for text in texts])
    return Tokens.open(folder / "tokens"), tokenizer.get_vocab_size()


def batch_of(corpus: tuple[Tokens, int], *, nsp: bool = True) -> Batch:
    """Return the first batch of pre-training."""
    tokens, size = corpus
    masker = Masker(4, np.arange(5, size), np.zeros(size, dtype=bool))
    _, batch = next(
        Batcher(tokens, SpecialIds(0, 2, 3), masker, nsp=nsp).stream(Recipe(64, nsp=nsp, seed=1), 2048, DataPosition())
    )
    return batch


def fresh(corpus: tuple[Tokens, int]) -> BertForPreTraining:
    """Return a new model for the corpus, without dropout."""
    share = np.log(count_frequencies(*corpus))
    model = new_model(SMALL, share, cooccurrence_vectors(*corpus, 32, 0), 0)
    set_dropout(model, 0)
    return model


@pytest.mark.parametrize("nsp", [True, False])
def test_the_loss_is_that_of_bert(corpus: tuple[Tokens, int], nsp: bool) -> None:
    """Scoring the vocabulary at chosen positions only gives the loss, and the gradient, of scoring it everywhere."""
    model, batch = fresh(corpus), batch_of(corpus, nsp=nsp)
    labels = torch.full(batch.input_ids.shape, -100)
    labels.view(-1)[batch.positions] = batch.labels
    found = model(
        batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids, labels=labels,
        next_sentence_label=1 - batch.is_next,
    )  # fmt: skip
    mlm = torch.nn.functional.cross_entropy(found.prediction_logits.flatten(0, 1), labels.flatten())
    (found.loss if nsp else mlm).backward()
    weight = model.bert.embeddings.word_embeddings.weight
    wanted, gradient = found.loss.item(), weight.grad.clone()
    model.zero_grad()
    losses = Objective(model, nsp=nsp)(batch)
    losses.sum().backward()
    assert losses[0].item() == pytest.approx(mlm.item(), rel=1e-5)
    assert losses.sum().item() == pytest.approx(wanted if nsp else mlm.item(), rel=1e-5)
    assert torch.allclose(weight.grad, gradient, atol=1e-5)


def test_a_batch_is_what_the_paper_shows(corpus: tuple[Tokens, int]) -> None:
    """[CLS] a [SEP] b [SEP], padding behind, and segment ids 1 from the first piece of b to the last [SEP]."""
    batch = batch_of(corpus)
    ids = batch.input_ids.view(-1).clone()
    ids[batch.positions] = batch.labels
    ids = ids.view(batch.input_ids.shape)
    padding = torch.zeros_like(ids) if batch.attention_mask is None else 1 - batch.attention_mask
    assert (ids[:, 0] == 2).all()
    assert ((ids == 3).sum(1) == 2).all()
    assert torch.equal(padding == 1, ids == 0)
    assert batch.tokens == int((1 - padding).sum())
    for row, types in zip(ids, batch.token_type_ids, strict=True):
        first, last = torch.nonzero(row == 3).flatten().tolist()
        assert torch.nonzero(types).flatten().tolist() == list(range(first + 1, last + 1))


def test_a_new_model_starts_with_the_unigram_distribution(corpus: tuple[Tokens, int]) -> None:
    """Its first loss is not that of guessing among all pieces, but at most that of their frequencies."""
    batch = batch_of(corpus)
    losses = Objective(fresh(corpus), nsp=True).evaluate(batch)
    unigram = -np.log(count_frequencies(*corpus))[batch.labels.numpy()].mean()
    assert unigram < 0.9 * math.log(corpus[1])
    assert losses.mlm.mean() < unigram
    assert losses.mlm[batch.is_mask].mean() < unigram + 0.2
    assert losses.mlm[~batch.is_mask].mean() < unigram - 0.5, "what is shown is its own first guess"
    assert losses.nsp.mean() == pytest.approx(math.log(2), abs=0.1)


def test_head_and_embeddings_are_tied(corpus: tuple[Tokens, int]) -> None:
    """One matrix reads and writes words, and one bias is the head's: both are trained as one."""
    model = fresh(corpus)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert model.cls.predictions.decoder.bias is model.cls.predictions.bias
    assert model.config.hidden_dropout_prob == 0.1, "what follows drops as BERT's authors do"


def test_words_of_one_topic_have_near_vectors() -> None:
    """Pieces with the same contexts get similar vectors, and an unseen one has no vector."""
    chance = np.random.default_rng(0)
    topics = chance.integers(0, 5, 4000)
    tokens = (topics[:, None] * 8 + chance.integers(0, 8, (4000, 12))).ravel()
    starts = np.arange(0, len(tokens) + 1, 12)
    found = cooccurrence_vectors(Tokens(tokens.astype(np.uint16), starts, np.arange(4000, dtype=np.int32)), 41, 8, 0)
    assert found is not None
    assert found.shape == (41, 8)
    assert not found[40].any()
    unit = found[:40] / np.linalg.norm(found[:40], axis=1, keepdims=True)
    near = unit @ unit.T
    same = np.equal.outer(np.arange(40) // 8, np.arange(40) // 8)
    assert near[same].mean() > near[~same].mean() + 0.5
    assert cooccurrence_vectors(Tokens(tokens[:600], starts[:51], np.arange(50, dtype=np.int32)), 41, 8, 0) is None


@pytest.fixture
def plain(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> Path:
    """Return a directory of transformers alone, of the class that the test names."""
    network = getattr(transformers, request.param)(AutoConfig.from_pretrained(tiny_model))
    network.save_pretrained(tmp_path / "plain")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


@pytest.mark.parametrize(
    ("plain", "head", "nsp"),
    [("BertModel", False, False), ("BertForMaskedLM", True, False), ("BertForPreTraining", True, True)],
    indirect=["plain"],
)
def test_any_bert_can_be_gone_on_with(plain: Path, head: bool, nsp: bool) -> None:
    """Its weights are taken up, and the heads that it has; those that it lacks are known to be new."""
    found = load_checkpoint(str(plain))
    assert isinstance(found.model, BertForPreTraining)
    assert (found.has_mlm_head, found.has_nsp_head) == (head, nsp)
    kept: Any = transformers.AutoModel.from_pretrained(plain).embeddings.word_embeddings.weight
    assert torch.equal(found.model.bert.embeddings.word_embeddings.weight, kept)


def test_a_sentence_transformers_directory(tiny_model: Path) -> None:
    """The transformer inside is found; it has no head for words or sentences."""
    found = load_checkpoint(str(tiny_model))
    assert isinstance(found.model, BertForPreTraining)
    assert (found.has_mlm_head, found.has_nsp_head) == (False, False)
    assert found.tokenizer.mask_token_id == 4


def test_other_architectures(tmp_path: Path, corpus: tuple[Tokens, int]) -> None:
    """A model without segment ids learns masked words; one whose head is not known is refused by name."""
    mpnet = make_tiny_model(tmp_path, architecture="mpnet")
    found = load_checkpoint(str(mpnet))
    objective = Objective(found.model, nsp=False)
    size = found.model.config.vocab_size
    batch = batch_of(corpus, nsp=False)
    batch = batch._replace(input_ids=batch.input_ids % size, labels=batch.labels % size)
    assert torch.isfinite(objective(batch)).all()
    distilbert = make_tiny_model(tmp_path / "other", architecture="distilbert")
    with pytest.raises(UserError, match="distilbert has no masked-language head"):
        Objective(load_checkpoint(str(distilbert)).model, nsp=False)


def test_what_cannot_be_gone_on_with(tmp_path: Path) -> None:
    """A directory without a model is refused, with its name."""
    with pytest.raises(UserError, match=f"--from {tmp_path.name}: not loadable"):
        load_checkpoint(str(tmp_path))


def test_heads_must_divide_the_width() -> None:
    """The message has both numbers."""
    with pytest.raises(UserError, match="--hidden 100: not a multiple of 3 heads"):
        new_model(PretrainSettings(hidden=100, heads=3), np.zeros(64), None, 0)


def test_operations_and_peaks() -> None:
    """Six operations for each weight of a matrix and token; a GPU is found by its name, one that is unknown is not guessed."""
    bert_base = transformers.BertConfig()
    without_head = operations_per_token(bert_base, 0, 0)
    assert without_head == 6 * 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert operations_per_token(bert_base, 0, 1) - without_head == 6 * (768**2 + 768 * 30522)
    assert operations_per_token(bert_base, 512, 0) - without_head == 12 * 12 * 512 * 768
    assert peak_operations("NVIDIA H200") == 989e12
    assert peak_operations("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_operations("NVIDIA L40S") == 362e12
    assert peak_operations("NVIDIA RTX A4000") is None
