"""Fine-tuning within a longer run, by all processes that `accelerate launch` has started.

The first process leads: it alone reads, encodes, evaluates, writes and publishes. The others wait, without using a GPU's
time, and take part in each of its trainings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import distributed

from indexer.progress import quiet
from trainer.finetune.finetune import finetune
from trainer.finetune.settings import FinetuneSettings
from trainer.training.base_model import count_processes, silence_libraries
from trainer.training.output import FinishedTraining

WAIT = timedelta(days=7)
"""Time that the others wait for the first process, which may encode a large corpus between two trainings."""

_waiting: list[Any] = []
"""The group by which the first process of several calls the others; empty where it is the only one."""


@contextmanager
def leading() -> Iterator[bool]:
    """Say whether this process leads the run. In the others, say so after they have taken part in all its trainings."""
    if count_processes() == 1:
        yield True
        return
    silence_libraries()
    PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT)
    group = distributed.new_group(backend="gloo", timeout=WAIT)  # waits asleep, also where GPUs train by NCCL
    if distributed.get_rank():
        with quiet():
            while order := _broadcast(group, None):
                finetune(**order)
        yield False
        return
    _waiting.append(group)
    try:
        yield True
        # After an error this process ends, and the launcher ends the others, which may be in the midst of a training.
        _broadcast(group, None)
    finally:
        _waiting.clear()


def finetune_together(examples: Sequence[Path], settings: FinetuneSettings, out: Path) -> FinishedTraining:
    """Fine-tune an encoder as `finetune` does, with all processes; call it in the one that leads.

    Raises:
        UserError: see `finetune`.
    """
    order = {"examples": list(examples), "settings": settings, "out": out}
    for group in _waiting:
        _broadcast(group, order)
    return finetune(**order)  # type: ignore[arg-type]


def _broadcast(group: Any, order: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return in all processes what the first one says; None is the end."""
    said = [order]
    distributed.broadcast_object_list(said, src=0, group=group)
    return said[0]
