"""What a new BERT knows before its first step: what counting can tell, so that no step is spent on learning it.

- The bias of the head is the logarithm of each piece's frequency. The first loss is that of the unigram distribution.
- The dense layer of the head is the identity, so that the piece that stands at a position is its own first guess. One in
  five chosen positions shows its piece or a random one.
- Word embeddings are the leading directions of which pieces stand near which (`trainer.pretrain.initialise`); position embeddings
  are sines and cosines (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), between which attention finds neighbours.
- What attention reads it passes on: the output is the transpose of the values, smaller. So from the first step a [MASK]
  is told what stands around it, and the embeddings say which pieces go with that (the product of both matrices is what
  mimetic initialisation copies from trained models, Trockman and Kolter 2023, https://arxiv.org/abs/2305.09828).
- Two heads of the first layer read the topics of the two segments, and some units behind them compare these. A random
  model's loss of the next sentence was that of a coin still after a million tokens; this one starts with four right answers
  in five.

All of it is trained on. What comes out is an ordinary `BertForPreTraining`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import BertForPreTraining

from trainer.pretrain.batches import Batch
from trainer.pretrain.tokens import Tokens

WORDS, PLACES = 0.04, 0.02
"""Standard deviation of the word embeddings and size of the position embeddings."""
PASSED_ON = 0.3
"""Of what attention reads, so much is added to what stands at a position."""
SEGMENT = 0.02
"""Embedding of the segments on their own coordinate, in multiples of the width's square root."""
RARITY, RARITY_WEIGHT = 0.006, 0.5
"""Embedding of how rare a piece is, for one standard deviation, in multiples of the width's square root; and how much more
attention looks at it."""
RAREST, COMMONEST = 2.5, -2.0
"""Beyond so many standard deviations a piece is not rarer, or commoner, than others."""
OWN_SEGMENT = 3.5
"""How much a head prefers its own segment."""
SHARPNESS, SIMILARITY = 4.0, 0.05
"""Slopes of the units that compare, in and out."""
LEAST_TOPICS = 8
"""Directions of topics below which two segments are not compared."""


class Compared(NamedTuple):
    """Coordinates of the width that the comparison of two segments uses, one value each."""

    mark: int
    """What makes [CLS] itself."""
    rarity: int
    similarity: int
    segment: int


@torch.no_grad()
def start_from_counts(
    model: BertForPreTraining, log_frequency: npt.NDArray[np.float64], vectors: npt.NDArray[np.float32] | None
) -> None:
    """Let a random model begin with what is known of the pieces.

    Args:
        model: what `BertForPreTraining` makes of a configuration.
        log_frequency: logarithm of each piece's share of the corpus, shape (vocabulary,).
        vectors: of the pieces, (vocabulary, at most width); None where the corpus is too small to tell.
    """
    width = model.config.hidden_size
    start_head(model, log_frequency)
    embeddings = model.bert.embeddings
    if vectors is not None:
        known = np.abs(vectors).sum(axis=1) > 0
        weight = embeddings.word_embeddings.weight
        weight[torch.from_numpy(np.flatnonzero(known)), : vectors.shape[1]] = torch.from_numpy(vectors[known])
        # All equally long: behind the normalisation, rare and common pieces then have the same place for the segment.
        weight.copy_(WORDS * width**0.5 * nn.functional.normalize(weight, dim=1))
    places = embeddings.position_embeddings.weight
    angle = torch.arange(len(places))[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    places[:, 0::2] = PLACES * angle.sin()
    places[:, 1::2] = PLACES * angle.cos()[:, : width // 2]
    layers: Any = model.bert.encoder.layer
    for layer in layers:
        turn, _ = torch.linalg.qr(torch.randn(width, width))
        layer.attention.self.value.weight.copy_(PASSED_ON * turn)
        layer.attention.output.dense.weight.copy_(turn.T)


@torch.no_grad()
def start_head(model: BertForPreTraining, log_frequency: npt.NDArray[np.float64]) -> None:
    """Let a head for masked words begin with the frequencies, and with what stands at a position."""
    head = model.cls.predictions
    head.bias.copy_(torch.from_numpy(log_frequency))
    head.transform.dense.weight.copy_(torch.eye(model.config.hidden_size))
    head.transform.dense.bias.zero_()


@torch.no_grad()
def compare_segments(model: BertForPreTraining, log_frequency: npt.NDArray[np.float64], cls: int) -> int | None:
    """Let the first layer tell [CLS] how much the two segments have in common.

    Head 0 averages the topics a of the first segment, the leading directions of its pieces, and head 1 those b of the
    second, rare pieces above common ones. [CLS] is given a + b and a - b on coordinates of their own, and the units
    behind it |a + b| - |a - b| summed over the directions: large where a and b point the same way.

    Args:
        model: after `start_from_counts` with vectors.
        log_frequency: as there.
        cls: id of [CLS].

    Returns:
        The coordinate on which [CLS] says so, or None where the model is too small for it.
    """
    config = model.config
    width, size = config.hidden_size, config.hidden_size // config.num_attention_heads
    topics = min(size, (width - len(Compared._fields)) // 4, config.intermediate_size // 4)
    if config.num_attention_heads < 2 or topics < LEAST_TOPICS:
        return None
    at = Compared(*range(width - len(Compared._fields), width))
    mean = _embed(model, log_frequency, cls, at)[:topics]
    layer: Any = model.bert.encoder.layer[0]
    reading, out = layer.attention.self, layer.attention.output.dense
    together, apart = slice(topics, 2 * topics), slice(2 * topics, 3 * topics)
    for head, sign in enumerate((-1.0, 1.0)):
        rows = slice(head * size, (head + 1) * size)
        first = rows.start
        for part in (reading.query, reading.key, reading.value):
            part.weight[rows] = 0
            part.bias[rows] = 0
        out.weight[:, rows] = 0
        reading.key.weight[first, at.segment] = 1
        reading.query.bias[first] = sign * OWN_SEGMENT * size**0.5 / 8
        reading.key.weight[first + 1, at.rarity] = 1
        reading.query.bias[first + 1] = RARITY_WEIGHT * size**0.5
        topic = slice(first, first + topics)
        reading.value.weight[topic, :topics] = torch.eye(topics)
        reading.value.bias[topic] = -mean
        out.weight[together, topic] = torch.eye(topics)
        out.weight[apart, topic] = -sign * torch.eye(topics)
    inner, outer = layer.intermediate.dense, layer.output.dense
    for number, (place, slope) in enumerate(
        [(together, SHARPNESS), (together, -SHARPNESS), (apart, SHARPNESS), (apart, -SHARPNESS)]
    ):
        units = slice(number * topics, (number + 1) * topics)
        inner.weight[units] = 0
        inner.bias[units] = 0
        inner.weight[units, place] = slope * torch.eye(topics)
        outer.weight[:, units] = 0
        outer.weight[at.similarity, units] = SIMILARITY if place == together else -SIMILARITY
    return at.similarity


def _embed(model: BertForPreTraining, log_frequency: npt.NDArray[np.float64], cls: int, at: Compared) -> torch.Tensor:
    """Give segments, rarity and [CLS] their coordinates; return what an average piece looks like, shape (width,)."""
    embeddings = model.bert.embeddings
    words, places = embeddings.word_embeddings.weight, embeddings.position_embeddings.weight
    types = embeddings.token_type_embeddings.weight
    width = words.shape[1]
    share = torch.from_numpy(log_frequency).float()
    often = share.exp() / share.exp().sum()
    rarity = -(share - (share * often).sum())
    rarity = (rarity / (rarity.square() * often).sum().sqrt()).clamp(COMMONEST, RAREST)
    coordinates = list(at)
    words[:, coordinates] = 0
    places[:, coordinates] = 0
    words[:, at.rarity] = RARITY * width**0.5 * rarity
    types.zero_()
    types[:, at.segment] = SEGMENT * width**0.5 * torch.tensor([-1.0, 1.0])
    # [CLS] is to say nothing itself, so that it says what the heads tell it.
    words[cls] = -places[0]
    words[cls, at.mark] = WORDS * width**0.5
    words[cls, at.rarity] = RARITY * width**0.5 * COMMONEST
    seen = embeddings.LayerNorm(words + types[1])
    often = often * torch.exp(RARITY_WEIGHT * seen[:, at.rarity])
    mean: torch.Tensor = (seen * (often / often.sum())[:, None]).sum(0)
    return mean


@torch.no_grad()
def read_similarity(model: BertForPreTraining, coordinate: int, batches: list[Batch]) -> None:
    """Let the head for the next sentence begin with what [CLS] says on ``coordinate``, judged by some batches."""
    told = torch.cat(
        [
            model.bert(
                input_ids=batch.input_ids, token_type_ids=batch.token_type_ids, attention_mask=batch.attention_mask
            ).last_hidden_state[:, 0, coordinate]
            for batch in batches
        ]
    )
    scale = 0.5 / told.std().clamp(min=1e-6)
    pooler: Any = model.bert.pooler
    pooler, answer = pooler.dense, model.cls.seq_relationship
    pooler.weight[0] = 0
    pooler.weight[0, coordinate] = scale
    pooler.bias[0] = -scale * told.mean()
    answer.weight.mul_(0.1)
    answer.weight[:, 0] = torch.tensor([1.5, -1.5])  # the first class is «follows»
    answer.bias.zero_()


WINDOW = 8
"""Tokens to either side that count as near, a nearer one more."""
ENOUGH = 8_000_000
"""Tokens that are counted; more change little."""
SLICE = 2**19
"""Tokens that are counted at a time."""
SMOOTHING = 0.75
"""Exponent of the contexts' frequencies: without it rare pieces would count as the best contexts."""
LEAST = 20_000
"""Tokens below which such vectors say nothing."""


def vectors(corpus: Tokens, vocabulary: int, width: int, seed: int) -> npt.NDArray[np.float32] | None:
    """Return the vectors of all pieces, shape (vocabulary, at most width), or None where there is too little text.

    A piece that the corpus does not have has a vector of zeros.
    """
    from scipy.sparse import csr_array
    from sklearn.utils.extmath import randomized_svd

    if len(corpus.tokens) < LEAST:
        return None
    counts = csr_array((vocabulary, vocabulary), dtype=np.float32)
    for start in range(0, min(len(corpus.tokens), ENOUGH), SLICE):
        counts += _near(corpus, start, min(start + SLICE, len(corpus.tokens)), vocabulary)
    counts = (counts + counts.T).tocoo()
    near = np.bincount(counts.row, weights=counts.data, minlength=vocabulary)
    context = near**SMOOTHING / (near**SMOOTHING).sum()
    gain = np.log(counts.data / (near[counts.row] * context[counts.col]))
    kept = gain > 0
    table = csr_array((gain[kept].astype(np.float32), (counts.row[kept], counts.col[kept])), shape=counts.shape)
    left, strength, _ = randomized_svd(table, min(width, vocabulary - 2) + 1, n_iter=2, random_state=seed)
    # The first direction is the one that all pieces share, which tells none from another (Mu and Viswanath 2018).
    found: npt.NDArray[np.float32] = (left * np.sqrt(strength))[:, 1:].astype(np.float32)
    return found


def _near(corpus: Tokens, start: int, end: int, vocabulary: int) -> object:
    """Return how often which piece follows which within the window, weighted, for tokens ``start`` to ``end``."""
    from scipy.sparse import coo_array

    tokens = np.asarray(corpus.tokens[start:end]).astype(np.int32)
    unit = np.searchsorted(corpus.starts, np.arange(start, end), side="right") - 1
    document = corpus.documents[unit]
    rows, columns, weights = [], [], []
    for distance in range(1, WINDOW + 1):
        together = document[distance:] == document[:-distance]
        rows.append(tokens[:-distance][together])
        columns.append(tokens[distance:][together])
        weights.append(np.full(int(together.sum()), distance**-0.5, dtype=np.float32))
    values = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(values, shape=(vocabulary, vocabulary)).tocsr()
