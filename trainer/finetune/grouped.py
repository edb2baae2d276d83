"""Ranking among the distinct texts of a batch: a passage that answers five queries is encoded once, not five times.

On a CPU the passages are nearly all of the work: ten times as long as queries. `grouped-mnr` therefore puts all queries
of a passage into one batch, encodes each distinct text once, and lets every query choose among all passages of the
batch. Passages that lie near each other are put together, so that hard negatives need no mining.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch import Tensor, nn

NEIGHBOURHOOD = "neighbourhood"
"""The column of numbers; examples with the same number are put into one batch, as far as they fit."""
QUERIES = 8
"""Most queries in a batch, for each passage that it may have."""


class GroupedNegativesLoss(nn.Module):
    """Multiple negatives ranking in which a text that is several times in the batch is encoded once.

    A query's negatives are all distinct positives of the batch but its own; where the same query has several, all of
    them. Henderson et al. 2017, https://arxiv.org/abs/1705.00652, for the loss without groups.

    Args:
        model: the encoder.
        scale: the factor on cosine similarities before the softmax.
    """

    def __init__(self, model: SentenceTransformer, scale: float) -> None:
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the mean cross-entropy over the pairs, a scalar; there are no labels."""
        (queries, query_of), (passages, passage_of) = (self._encode(features) for features in sentence_features)
        scores = nn.functional.normalize(queries) @ nn.functional.normalize(passages).T * self.scale
        right = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
        right[query_of, passage_of] = True
        others = right[query_of]  # a copy, a row for each pair
        others[torch.arange(len(passage_of)), passage_of] = False
        return nn.functional.cross_entropy(scores[query_of].masked_fill(others, -torch.inf), passage_of)

    def _encode(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the vectors of the distinct texts, and for each row which of them it is."""
        tokens = features["input_ids"]
        _, which = torch.unique(tokens, dim=0, return_inverse=True)
        rows = torch.arange(len(tokens), device=tokens.device)
        first = torch.full((int(which.max()) + 1,), len(tokens), device=tokens.device)
        first = first.scatter_reduce(0, which, rows, "amin")
        distinct = {
            name: value[first] if isinstance(value, Tensor) and value.ndim and len(value) == len(tokens) else value
            for name, value in features.items()
        }
        return self.model(distinct)["sentence_embedding"], which


class GroupedBatchSampler(DefaultBatchSampler):
    """Batches of neighbouring passages, each with all of its queries.

    Args:
        dataset: with the column ``positive``.
        batch_size: distinct passages in a batch.
        neighbourhoods: a number for each row; None where nothing is known of them.
        rest: of the library's samplers.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, *, neighbourhoods: Sequence[int] | None = None, **rest: Any
    ) -> None:
        super().__init__(dataset, batch_size=batch_size, **rest)
        _, self._passage = np.unique(np.array(dataset["positive"]), return_inverse=True)
        self._near = self._passage if neighbourhoods is None else np.asarray(neighbourhoods)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch; another order each epoch, the same for the same seed."""
        chance = np.random.default_rng((self.seed, self.epoch))
        near = chance.permutation(int(self._near.max()) + 1)[self._near]
        passage = chance.permutation(int(self._passage.max()) + 1)[self._passage]
        order = np.lexsort((chance.permutation(len(near)), passage, near))
        batch: list[int] = []
        passages: set[int] = set()
        for row in order.tolist():
            full = len(passages) == self.batch_size and passage[row] not in passages
            if full or len(batch) == QUERIES * self.batch_size:
                yield batch
                batch, passages = [], set()
            batch.append(row)
            passages.add(int(passage[row]))
        if len(passages) > 1 and not (self.drop_last and len(passages) < self.batch_size):
            yield batch

    def __len__(self) -> int:
        """Return the number of batches of an epoch: it hardly depends on the order."""
        return max(sum(1 for _ in self), 1)
