"""Checkpoints of a pre-training: weights, optimizer and position in the data, from which it resumes exactly.

    <out>/checkpoints/checkpoint-120/
        model.safetensors        weights by name
        optimizer.safetensors    optimizer state of each weight: «exp_avg <name>», «exp_avg_sq <name>», «step <name>»
        state.json               steps, tokens, seconds of measuring, position in the data
        complete.json            written last; a directory without it does not exist

Learning rate and random numbers need no state. The rate follows the clock, the numbers follow from seed and position.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trainer.pretrain.examples import DataPosition
from trainer.training.checkpoints import COMPLETE, Checkpoint

KEPT = 2
"""Number of checkpoints: the newest, and the one before it until the newest is complete on the disk."""


class State(NamedTuple):
    """State of a training; the fields are also those of ``state.json``."""

    step: int = 0
    tokens: int = 0
    """Tokens seen, with special tokens and without padding."""
    place: DataPosition | None = None
    """Position of the last group of batches that was trained on; None before the first."""
    evaluated: float = 0.0
    """Progress of the training at the last evaluation."""
    measuring: float = 0.0
    """Seconds that evaluations took."""


def save(folder: Path, state: State, model: nn.Module, optimizer: torch.optim.Optimizer, mark: Checkpoint) -> None:
    """Write the checkpoint of a step into its own directory below ``folder`` and remove older ones.

    Args:
        folder: directory of the checkpoints.
        state: of the training.
        model: the model itself, without wrappers.
        optimizer: of all its trainable weights.
        mark: the checkpoint's directory, and the content of ``complete.json``.
    """
    shutil.rmtree(mark.path, ignore_errors=True)
    mark.path.mkdir(parents=True)
    names = {id(weight): name for name, weight in model.named_parameters()}
    moments = {
        f"{kind} {names[id(weight)]}": value.detach().cpu().contiguous()
        for weight, values in optimizer.state.items()
        for kind, value in values.items()
    }
    weights = {name: weight.detach().cpu().contiguous() for name, weight in model.named_parameters()}
    save_file(weights, mark.path / "model.safetensors")
    save_file(moments, mark.path / "optimizer.safetensors")
    (mark.path / "state.json").write_text(json.dumps(state._asdict()) + "\n", encoding="utf-8")
    for path in mark.path.iterdir():
        _sync(path)
    partial = mark.path / f".{COMPLETE}"
    content = {"step": mark.step, "seconds": round(mark.seconds, 3), "stopped": mark.stopped}
    partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
    _sync(partial)
    partial.replace(mark.path / COMPLETE)
    complete = sorted(
        (path for path in folder.glob("checkpoint-*") if (path / COMPLETE).is_file()),
        key=lambda path: int(path.name.rpartition("-")[2]),
    )
    for path in complete[:-KEPT]:
        shutil.rmtree(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def load(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Load weights and optimizer state, and return the state of the training."""
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in load_file(checkpoint / "model.safetensors").items():
            weights[name].copy_(value)
    for name, value in load_file(checkpoint / "optimizer.safetensors").items():
        kind, _, weight_name = name.partition(" ")
        weight = weights[weight_name]
        # A fused optimizer needs the step count on the weight's device, others need it on the CPU.
        fused = any(group.get("fused") for group in optimizer.param_groups)
        optimizer.state[weight][kind] = value.to(weight.device) if kind != "step" or fused else value
    raw = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    position = raw.pop("place")
    return State(**raw, place=DataPosition(*position) if position else None)
