"""Checkpoints of a pre-training: weights, optimizer and the place in the data, from which it goes on as if nothing had been.

    <out>/checkpoints/checkpoint-120/
        model.safetensors        weights by name
        optimizer.safetensors    what the optimizer keeps of each weight: «exp_avg <name>», «exp_avg_sq <name>», «step <name>»
        state.json               steps, tokens, seconds, the next place in the data
        complete.json            written last; a directory without it does not exist

Learning rate and chance need no state: one follows the clock, the other is drawn from seed and place.
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

from trainer.pretrain.examples import Place
from trainer.training.checkpoints import COMPLETE, Checkpoint

KEPT = 2
"""Checkpoints: the newest, and the one before it for as long as the newest is not whole on the disk."""


class State(NamedTuple):
    """Where a training is."""

    step: int = 0
    tokens: int = 0
    """Tokens seen, special ones included and padding not."""
    place: Place | None = None
    """The batch that the last step began its last group with; None before the first."""
    evaluated: float = 0.0
    """Progress at the last measurement."""
    measuring: float = 0.0
    """Seconds that measurements took."""


def save(folder: Path, state: State, model: nn.Module, optimizer: torch.optim.Optimizer, mark: Checkpoint) -> None:
    """Write the checkpoint of a step into its own directory below ``folder`` and remove older ones.

    Args:
        folder: of the checkpoints.
        state: where the training is.
        model: the model itself, not what wraps it.
        optimizer: of all its weights that learn.
        mark: what `complete.json` says.
    """
    shutil.rmtree(mark.path, ignore_errors=True)
    mark.path.mkdir(parents=True)
    names = {id(weight): name for name, weight in model.named_parameters()}
    kept = {
        f"{kind} {names[id(weight)]}": value.detach().cpu().contiguous()
        for weight, values in optimizer.state.items()
        for kind, value in values.items()
    }
    weights = {name: weight.detach().cpu().contiguous() for name, weight in model.named_parameters()}
    save_file(weights, mark.path / "model.safetensors")
    save_file(kept, mark.path / "optimizer.safetensors")
    (mark.path / "state.json").write_text(json.dumps(state._asdict()) + "\n", encoding="utf-8")
    for path in mark.path.iterdir():
        _sync(path)
    partial = mark.path / f".{COMPLETE}"
    said = {"step": mark.step, "seconds": round(mark.seconds, 3), "stopped": mark.stopped}
    partial.write_text(json.dumps(said) + "\n", encoding="utf-8")
    _sync(partial)
    partial.replace(mark.path / COMPLETE)
    others = sorted(
        (path for path in folder.glob("checkpoint-*") if (path / COMPLETE).is_file()),
        key=lambda path: int(path.name.rpartition("-")[2]),
    )
    for path in others[:-KEPT]:
        shutil.rmtree(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def load(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Put the weights and what the optimizer had kept back, and return where the training was."""
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in load_file(checkpoint / "model.safetensors").items():
            weights[name].copy_(value)
    for name, value in load_file(checkpoint / "optimizer.safetensors").items():
        kind, _, of = name.partition(" ")
        weight = weights[of]
        # A step count lies where the optimizer wants it: beside the weight where it is fused, else on the CPU.
        fused = any(group.get("fused") for group in optimizer.param_groups)
        optimizer.state[weight][kind] = value.to(weight.device) if kind != "step" or fused else value
    raw = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    place = raw.pop("place")
    return State(**raw, place=Place(*place) if place else None)
