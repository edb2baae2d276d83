"""Batches divided among processes: together the processes see the batches that one process with the whole size sees.

`accelerate` gives each process batches of its own. Two of them may then hold the same text, which would be a false negative
once texts are gathered, and batches of unlike sizes would be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

from trainer.finetune.grouped import GroupedBatchSampler


class DividedBatchSampler(DefaultBatchSampler):
    """Yields for each batch one part for each process, in the order in which `accelerate` deals out batches.

    Args:
        dataset: the examples.
        batch_size: of one process.
        make: makes the sampler of the whole batches, of ``processes`` times this size.
        processes: number of processes.
        options: further arguments of the library's samplers.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        make: Callable[..., DefaultBatchSampler],
        processes: int,
        **options: Any,
    ) -> None:
        super().__init__(dataset, batch_size=batch_size, **options)
        self.batch_size = None  # type: ignore[assignment]  # tells accelerate that the sizes differ, and to keep all
        self._whole = make(dataset, batch_size=batch_size * processes, **options)
        self.sampler: Any = self._whole  # accelerate sets the epoch of what has this name
        self._processes = processes

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the parts; a batch that has too few rows for all processes is left out."""
        batches: Iterator[Any] = iter(self._whole)
        for batch in batches:
            parts = self._parts(batch)
            if all(parts):
                yield from parts

    def __len__(self) -> int:
        """Return the number of parts of an epoch."""
        return len(self._whole) * self._processes

    def _parts(self, batch: list[int]) -> list[list[int]]:
        if isinstance(self._whole, GroupedBatchSampler):
            return self._whole.divide(batch, self._processes)
        size = (
            len(batch) // self._processes
        )  # gathering needs as many texts from each; fewer than processes are left over
        return [batch[part * size : (part + 1) * size] for part in range(self._processes)]
