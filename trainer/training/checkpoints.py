"""Checkpoints of a training: complete ones only, with all that the training goes on with.

    <out>/checkpoints/checkpoint-120/
        model.safetensors, modules.json …        the encoder
        optimizer.pt, scheduler.pt, rng_state.pth, trainer_state.json
        loss.safetensors                         what the loss learned beside the encoder (the decoder of TSDAE)
        complete.json                            written last; a directory without it does not exist

The weights are read with safetensors, the rest with torch's ``weights_only``: nothing is unpickled.
"""

# ruff: noqa: ARG002 - every callback of transformers is given everything

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainer.training.clock import Clock

COMPLETE = "complete.json"
LOSS_WEIGHTS = "loss.safetensors"
_NAME = re.compile(r"checkpoint-(\d+)")


class Checkpoint(NamedTuple):
    """A complete checkpoint: where it is, how long the training had run, and whether it had ended."""

    path: Path
    step: int
    seconds: float
    stopped: bool


def last_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint below ``folder``, or None."""
    complete = [path for path in _checkpoints(folder) if (path / COMPLETE).is_file()]
    if not complete:
        return None
    path = max(complete, key=_step)
    mark = json.loads((path / COMPLETE).read_text(encoding="utf-8"))
    return Checkpoint(path, int(mark["step"]), float(mark["seconds"]), bool(mark["stopped"]))


def remove_incomplete(folder: Path) -> None:
    """Remove the checkpoints that a killed training left half written."""
    for path in _checkpoints(folder):
        if not (path / COMPLETE).is_file():
            shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def own_weights(loss: nn.Module, model: nn.Module) -> dict[str, nn.Parameter]:
    """Return what ``loss`` learns beside the weights of ``model``, by name; none for most losses."""
    shared = {id(parameter) for parameter in model.parameters()}
    return {
        name: parameter
        for name, parameter in loss.named_parameters()
        if parameter.requires_grad and id(parameter) not in shared
    }


def load_loss(checkpoint: Path, loss: nn.Module, model: nn.Module) -> None:
    """Put back what the loss had learned. The library's trainer keeps the encoder's weights only."""
    weights = own_weights(loss, model)
    if not weights:
        return
    saved = load_file(checkpoint / LOSS_WEIGHTS)
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(saved[name])


class MarkComplete(TrainerCallback):
    """Adds the loss's own weights to a checkpoint that was just written, and then the mark that it is complete."""

    def __init__(self, folder: Path, clock: Clock, loss: nn.Module, model: nn.Module) -> None:
        self._folder = folder
        self._clock = clock
        self._loss = loss
        self._model = model

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Complete the checkpoint once every process has written its part."""
        if args.world_size > 1:
            torch.distributed.barrier()
        if not state.is_world_process_zero:
            return
        path = self._folder / f"checkpoint-{state.global_step}"
        if weights := own_weights(self._loss, self._model):
            save_file(
                {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, path / LOSS_WEIGHTS
            )
        mark = {
            "step": state.global_step,
            "seconds": round(self._clock.seconds, 3),
            "stopped": control.should_training_stop,
        }
        partial = path / f".{COMPLETE}"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(mark, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path / COMPLETE)
