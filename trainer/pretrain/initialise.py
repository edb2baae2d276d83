"""Initialisation of a new BERT from counts of the corpus: frequencies and co-occurrences that no step need learn.

- The bias of the masked-language head is the logarithm of each piece's frequency. The first loss is then that of the
  unigram distribution.
- The dense layer of this head is the identity: the first prediction for a position is the piece that it shows. One in
  five chosen positions shows its own piece or a random one.
- Word embeddings are co-occurrence vectors (`cooccurrence_vectors`): the singular vectors of the positive pointwise
  mutual information. word2vec factorises the same matrix (Levy and Goldberg 2014, «Neural word embedding as implicit
  matrix factorization»). The exponent of the contexts is that of Levy, Goldberg and Dagan 2015.
- Position embeddings are sines and cosines (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), with which
  attention finds neighbours.
- Attention copies its input: its output matrix is the transpose of its value matrix, scaled down. From the first step a
  [MASK] then receives the pieces around it, and the embeddings show which pieces fit. (Mimetic initialisation copies
  the product of both matrices from trained models. Trockman and Kolter 2023, https://arxiv.org/abs/2305.09828)
- Two heads of the first layer average the topics of the two segments, and some units of its feed-forward part compare
  them. With random weights the loss of next-sentence prediction was still at the level of chance after a million
  tokens; with these it starts with four right answers in five.

All of these weights are trained further. The result is an ordinary `BertForPreTraining`.
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

WORD_STD, POSITION_SIZE = 0.04, 0.02
"""Standard deviation of the word embeddings, and amplitude of the position embeddings."""
ATTENTION_GAIN = 0.3
"""Share of what attention reads that is added to the vector of a position."""
SEGMENT_SIZE = 0.02
"""Segment embedding on its own coordinate, in multiples of the width's square root."""
RARITY, RARITY_WEIGHT = 0.006, 0.5
"""Embedding of a piece's rarity, for one standard deviation, in multiples of the width's square root; and attention's
preference for rare pieces."""
MAX_RARITY, MIN_RARITY = 2.5, -2.0
"""Rarity is clipped to this range, in standard deviations."""
SEGMENT_PREFERENCE = 3.5
"""Preference of a head for its own segment, in the attention logits."""
INPUT_SLOPE, OUTPUT_SLOPE = 4.0, 0.05
"""Slopes of the units that compare segments, at their input and at their output."""
MIN_TOPICS = 8
"""Smallest number of topic directions with which segments are compared."""
WINDOW = 8
"""Tokens on either side that count as context; nearer ones have a larger weight."""
MAX_COUNTED_TOKENS = 8_000_000
"""Tokens that are counted; more change little."""
CHUNK_TOKENS = 2**19
"""Tokens that are counted at a time."""
SMOOTHING = 0.75
"""Exponent of the contexts' frequencies: without it rare pieces would be the best contexts."""
MIN_COUNTED_TOKENS = 20_000
"""Smallest corpus whose co-occurrence vectors are of use, in tokens."""


class ReservedCoordinates(NamedTuple):
    """Coordinates of the hidden states that are reserved for the comparison of two segments."""

    mark: int
    """Marks [CLS]."""
    rarity: int
    """Rarity of a piece."""
    similarity: int
    """Result of the comparison, at [CLS]."""
    segment: int
    """Negative in the first segment, positive in the second."""


def cooccurrence_vectors(corpus: Tokens, vocabulary: int, width: int, seed: int) -> npt.NDArray[np.float32] | None:
    """Return vectors of all pieces, shape (vocabulary, at most width), or None where there is too little text.

    A piece that does not occur in the corpus has a vector of zeros.
    """
    from scipy.sparse import csr_array
    from sklearn.utils.extmath import randomized_svd

    if len(corpus.tokens) < MIN_COUNTED_TOKENS:
        return None
    counts = csr_array((vocabulary, vocabulary), dtype=np.float32)
    for start in range(0, min(len(corpus.tokens), MAX_COUNTED_TOKENS), CHUNK_TOKENS):
        counts += _count_neighbours(corpus, start, min(start + CHUNK_TOKENS, len(corpus.tokens)), vocabulary)
    counts = (counts + counts.T).tocoo()
    totals = np.bincount(counts.row, weights=counts.data, minlength=vocabulary)
    context = totals**SMOOTHING / (totals**SMOOTHING).sum()
    information = np.log(counts.data / (totals[counts.row] * context[counts.col]))
    kept = information > 0
    table = csr_array((information[kept].astype(np.float32), (counts.row[kept], counts.col[kept])), shape=counts.shape)
    left, strength, _ = randomized_svd(table, min(width, vocabulary - 2) + 1, n_iter=2, random_state=seed)
    # The first direction is common to all pieces and distinguishes none of them (Mu and Viswanath 2018).
    vectors: npt.NDArray[np.float32] = (left * np.sqrt(strength))[:, 1:].astype(np.float32)
    return vectors


@torch.no_grad()
def initialise_from_counts(
    model: BertForPreTraining, log_frequency: npt.NDArray[np.float64], vectors: npt.NDArray[np.float32] | None
) -> None:
    """Initialise head, embeddings and attention of a random model from the counts.

    Args:
        model: a `BertForPreTraining` with random weights.
        log_frequency: logarithm of each piece's share of the corpus, shape (vocabulary,).
        vectors: co-occurrence vectors, shape (vocabulary, at most width); None where the corpus is too small for them.
    """
    width = model.config.hidden_size
    initialise_mlm_head(model, log_frequency)
    embeddings = model.bert.embeddings
    if vectors is not None:
        occurs = np.abs(vectors).sum(axis=1) > 0
        weight = embeddings.word_embeddings.weight
        weight[torch.from_numpy(np.flatnonzero(occurs)), : vectors.shape[1]] = torch.from_numpy(vectors[occurs])
        # Equal lengths: after layer normalisation the segment then weighs the same for rare and for common pieces.
        weight.copy_(WORD_STD * width**0.5 * nn.functional.normalize(weight, dim=1))
    positions = embeddings.position_embeddings.weight
    angle = torch.arange(len(positions))[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    positions[:, 0::2] = POSITION_SIZE * angle.sin()
    positions[:, 1::2] = POSITION_SIZE * angle.cos()[:, : width // 2]
    layers: Any = model.bert.encoder.layer
    for layer in layers:
        rotation, _ = torch.linalg.qr(torch.randn(width, width))
        layer.attention.self.value.weight.copy_(ATTENTION_GAIN * rotation)
        layer.attention.output.dense.weight.copy_(rotation.T)


@torch.no_grad()
def initialise_mlm_head(model: BertForPreTraining, log_frequency: npt.NDArray[np.float64]) -> None:
    """Initialise the masked-language head: bias from frequencies, dense layer as the identity."""
    head = model.cls.predictions
    head.bias.copy_(torch.from_numpy(log_frequency))
    head.transform.dense.weight.copy_(torch.eye(model.config.hidden_size))
    head.transform.dense.bias.zero_()


@torch.no_grad()
def initialise_segment_comparison(
    model: BertForPreTraining, log_frequency: npt.NDArray[np.float64], cls: int
) -> int | None:
    """Initialise the first layer to compute at [CLS] how similar the two segments are.

    Head 0 averages the topics a of the first segment, the leading directions of its pieces. Head 1 averages those of
    the second, b. Both weight rare pieces more. They write a + b and a - b to coordinates of their own at [CLS]. The
    units of the feed-forward part then add up |a + b| - |a - b| over the directions, which is large where a and b point
    the same way.

    Args:
        model: after `initialise_from_counts` with vectors.
        log_frequency: as there.
        cls: id of [CLS].

    Returns:
        The coordinate of the similarity at [CLS], or None where the model is too small for the comparison.
    """
    config = model.config
    width, size = config.hidden_size, config.hidden_size // config.num_attention_heads
    topics = min(size, (width - len(ReservedCoordinates._fields)) // 4, config.intermediate_size // 4)
    if config.num_attention_heads < 2 or topics < MIN_TOPICS:
        return None
    reserved = ReservedCoordinates(*range(width - len(ReservedCoordinates._fields), width))
    mean = _initialise_embeddings(model, log_frequency, cls, reserved)[:topics]
    layer: Any = model.bert.encoder.layer[0]
    attention, out = layer.attention.self, layer.attention.output.dense
    sums, differences = slice(topics, 2 * topics), slice(2 * topics, 3 * topics)
    for head, sign in enumerate((-1.0, 1.0)):
        rows = slice(head * size, (head + 1) * size)
        first = rows.start
        for projection in (attention.query, attention.key, attention.value):
            projection.weight[rows] = 0
            projection.bias[rows] = 0
        out.weight[:, rows] = 0
        attention.key.weight[first, reserved.segment] = 1
        attention.query.bias[first] = sign * SEGMENT_PREFERENCE * size**0.5 / 8
        attention.key.weight[first + 1, reserved.rarity] = 1
        attention.query.bias[first + 1] = RARITY_WEIGHT * size**0.5
        topic = slice(first, first + topics)
        attention.value.weight[topic, :topics] = torch.eye(topics)
        attention.value.bias[topic] = -mean
        out.weight[sums, topic] = torch.eye(topics)
        out.weight[differences, topic] = -sign * torch.eye(topics)
    inner, outer = layer.intermediate.dense, layer.output.dense
    for number, (coordinates, slope) in enumerate(
        [(sums, INPUT_SLOPE), (sums, -INPUT_SLOPE), (differences, INPUT_SLOPE), (differences, -INPUT_SLOPE)]
    ):
        units = slice(number * topics, (number + 1) * topics)
        inner.weight[units] = 0
        inner.bias[units] = 0
        inner.weight[units, coordinates] = slope * torch.eye(topics)
        outer.weight[:, units] = 0
        outer.weight[reserved.similarity, units] = OUTPUT_SLOPE if coordinates == sums else -OUTPUT_SLOPE
    return reserved.similarity


@torch.no_grad()
def initialise_nsp_head(model: BertForPreTraining, coordinate: int, batches: list[Batch]) -> None:
    """Initialise the next-sentence head to read ``coordinate`` of [CLS], scaled and centred on some batches."""
    similarity = torch.cat(
        [
            model.bert(
                input_ids=batch.input_ids, token_type_ids=batch.token_type_ids, attention_mask=batch.attention_mask
            ).last_hidden_state[:, 0, coordinate]
            for batch in batches
        ]
    )
    scale = 0.5 / similarity.std().clamp(min=1e-6)
    pooler: Any = model.bert.pooler
    pooler, head = pooler.dense, model.cls.seq_relationship
    pooler.weight[0] = 0
    pooler.weight[0, coordinate] = scale
    pooler.bias[0] = -scale * similarity.mean()
    head.weight.mul_(0.1)
    head.weight[:, 0] = torch.tensor([1.5, -1.5])  # the first class is «follows»
    head.bias.zero_()


def _initialise_embeddings(
    model: BertForPreTraining, log_frequency: npt.NDArray[np.float64], cls: int, reserved: ReservedCoordinates
) -> torch.Tensor:
    """Set the reserved coordinates of segments, rarity and [CLS]; return the mean vector of a piece, shape (width,)."""
    embeddings = model.bert.embeddings
    words, positions = embeddings.word_embeddings.weight, embeddings.position_embeddings.weight
    types = embeddings.token_type_embeddings.weight
    width = words.shape[1]
    log_share = torch.from_numpy(log_frequency).float()
    share = log_share.exp() / log_share.exp().sum()
    rarity = -(log_share - (log_share * share).sum())
    rarity = (rarity / (rarity.square() * share).sum().sqrt()).clamp(MIN_RARITY, MAX_RARITY)
    coordinates = list(reserved)
    words[:, coordinates] = 0
    positions[:, coordinates] = 0
    words[:, reserved.rarity] = RARITY * width**0.5 * rarity
    types.zero_()
    types[:, reserved.segment] = SEGMENT_SIZE * width**0.5 * torch.tensor([-1.0, 1.0])
    # [CLS] has no content of its own: its vector is what the heads write to it.
    words[cls] = -positions[0]
    words[cls, reserved.mark] = WORD_STD * width**0.5
    words[cls, reserved.rarity] = RARITY * width**0.5 * MIN_RARITY
    states = embeddings.LayerNorm(words + types[1])
    weights = share * torch.exp(RARITY_WEIGHT * states[:, reserved.rarity])
    mean: torch.Tensor = (states * (weights / weights.sum())[:, None]).sum(0)
    return mean


def _count_neighbours(corpus: Tokens, start: int, end: int, vocabulary: int) -> object:
    """Return the weighted counts of one piece following another within the window, for tokens ``start`` to ``end``."""
    from scipy.sparse import coo_array

    tokens = np.asarray(corpus.tokens[start:end]).astype(np.int32)
    unit = np.searchsorted(corpus.starts, np.arange(start, end), side="right") - 1
    document = corpus.documents[unit]
    rows, columns, weights = [], [], []
    for distance in range(1, WINDOW + 1):
        same_document = document[distance:] == document[:-distance]
        rows.append(tokens[:-distance][same_document])
        columns.append(tokens[distance:][same_document])
        weights.append(np.full(int(same_document.sum()), distance**-0.5, dtype=np.float32))
    values = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(values, shape=(vocabulary, vocabulary)).tocsr()
