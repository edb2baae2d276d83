"""Multiple negatives ranking over distinct texts: a passage with five queries in the batch is encoded once.

On a CPU, passages are nearly all of the work: they are ten times as long as queries. `grouped-mnr` therefore puts all
queries of a passage into one batch, encodes each distinct text once, and ranks all passages of the batch for every
query. Passages that are near each other share a batch, which gives hard negatives without mining.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_gather

NEIGHBOURHOOD = "neighbourhood"
"""Column of numbers; examples with the same number go into one batch, as far as they fit."""
MAX_QUERIES = 8
"""Largest number of queries in a batch, as a multiple of its passages."""


class GroupedNegativesLoss(nn.Module):
    """Multiple negatives ranking that encodes a text once, however often it is in the batch.

    The negatives of a query are all distinct positives of the batch except its own, of which it may have several.
    Henderson et al. 2017, https://arxiv.org/abs/1705.00652, for the loss without groups.

    Args:
        model: the encoder.
        scale: the factor on cosine similarities before the softmax.
        gather: whether the batch is divided among processes; the texts of all are ranked then.
    """

    def __init__(self, model: SentenceTransformer, scale: float, *, gather: bool = False) -> None:
        super().__init__()
        self.model = model
        self.scale = scale
        self.gather = gather

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the mean cross-entropy over the pairs, a scalar; there are no labels.

        With ``gather`` the pairs are those of all processes, so the value is the same in each of them.
        """
        (queries, query_of), (passages, passage_of) = (self._encode(features) for features in sentence_features)
        scores = nn.functional.normalize(queries) @ nn.functional.normalize(passages).T * self.scale
        positive = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
        positive[query_of, passage_of] = True
        excluded = positive[query_of]  # the query's other positives, a row for each pair; a copy
        excluded[torch.arange(len(passage_of)), passage_of] = False
        return nn.functional.cross_entropy(scores[query_of].masked_fill(excluded, -torch.inf), passage_of)

    def _encode(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the vectors of the distinct texts, and for each row the index of its text among them."""
        tokens = features["input_ids"]
        first_row, text_of = _distinct(tokens)
        distinct = {
            name: value[first_row] if isinstance(value, Tensor) and value.ndim and len(value) == len(tokens) else value
            for name, value in features.items()
        }
        vectors = self.model(distinct)["sentence_embedding"]
        if not self.gather:
            return vectors, text_of
        mask = features["attention_mask"]
        every = gather_rows(tokens * mask + mask - 1, fill=-1)  # padding is -1, however long the longest text is
        first_row, every_text_of = _distinct(every)
        return gather_rows(vectors[text_of])[first_row], every_text_of


def _distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first row of each distinct row, and for each row the index of its equal among these."""
    _, text_of = torch.unique(tokens, dim=0, return_inverse=True)
    rows = torch.arange(len(tokens), device=tokens.device)
    first_row = torch.full((int(text_of.max()) + 1,), len(tokens), device=tokens.device)
    return first_row.scatter_reduce(0, text_of, rows, "amin"), text_of


def gather_rows(rows: Tensor, fill: int = 0) -> Tensor:
    """Return the rows of all processes in their order; gradients flow back to the process that a row came from.

    Args:
        rows: shape (rows, width); both may differ between the processes.
        fill: fills up rows that are shorter than the longest.
    """
    shape = torch.tensor(rows.shape, device=rows.device)
    shapes = [torch.empty_like(shape) for _ in range(distributed.get_world_size())]
    distributed.all_gather(shapes, shape)
    counts, widths = torch.stack(shapes).T.tolist()
    padded = nn.functional.pad(rows, (0, max(widths) - rows.shape[1], 0, max(counts) - rows.shape[0]), value=fill)
    if padded.requires_grad:
        parts = list(all_gather(padded))  # type: ignore[no-untyped-call]
    else:
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded.contiguous())
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


class GroupedBatchSampler(DefaultBatchSampler):
    """Batches of neighbouring passages, each with all of its queries.

    Args:
        dataset: with the column ``positive``.
        batch_size: distinct passages in a batch.
        neighbourhoods: a number for each row; None where neighbours are not known.
        options: further arguments of the library's samplers.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, *, neighbourhoods: Sequence[int] | None = None, **options: Any
    ) -> None:
        super().__init__(dataset, batch_size=batch_size, **options)
        _, self._passage = np.unique(np.array(dataset["positive"]), return_inverse=True)
        self._neighbourhood = self._passage if neighbourhoods is None else np.asarray(neighbourhoods)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch, in another order in each epoch; the same seed gives the same orders."""
        rng = np.random.default_rng((self.seed, self.epoch))
        neighbourhood = rng.permutation(int(self._neighbourhood.max()) + 1)[self._neighbourhood]
        passage = rng.permutation(int(self._passage.max()) + 1)[self._passage]
        order = np.lexsort((rng.permutation(len(neighbourhood)), passage, neighbourhood))
        batch: list[int] = []
        passages: set[int] = set()
        for row in order.tolist():
            full = len(passages) == self.batch_size and passage[row] not in passages
            if full or len(batch) == MAX_QUERIES * self.batch_size:
                yield batch
                batch, passages = [], set()
            batch.append(row)
            passages.add(int(passage[row]))
        if len(passages) > 1 and not (self.drop_last and len(passages) < self.batch_size):
            yield batch

    def divide(self, batch: list[int], parts: int) -> list[list[int]]:
        """Divide a batch into parts of about as many passages, each with all of its queries; a part may be empty."""
        _, first = np.unique(self._passage[batch], return_index=True)
        divided = np.array_split(np.sort(first), parts)
        bounds = [*(int(starts[0]) if len(starts) else len(batch) for starts in divided), len(batch)]
        return [batch[start:stop] for start, stop in pairwise(bounds)]

    def __len__(self) -> int:
        """Return the number of batches of an epoch, which hardly depends on the order."""
        return max(sum(1 for _ in self), 1)
