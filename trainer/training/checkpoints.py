"""Checkpoints of a training: only complete ones count, and each holds everything that resuming needs.

    <out>/checkpoints/checkpoint-120/
        model.safetensors, modules.json …        the encoder
        optimizer.pt, scheduler.pt, rng_state.pth, trainer_state.json
        loss.safetensors                         weights of the loss beside the encoder (the decoder of TSDAE)
        complete.json                            written last; a directory without it does not exist

The weights are read with safetensors, the rest with torch's ``weights_only``: nothing is unpickled.
"""

# ruff: noqa: ARG002 - transformers passes every callback all arguments

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
LOSS_FILE = "loss.safetensors"
_NAME = re.compile(r"checkpoint-(\d+)")


class Checkpoint(NamedTuple):
    """A complete checkpoint: directory, steps and seconds of the training, and whether the training had ended."""

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


def loss_parameters(loss: nn.Module, model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that ``loss`` trains beside those of ``model``, by name; most losses have none."""
    shared = {id(parameter) for parameter in model.parameters()}
    return {
        name: parameter
        for name, parameter in loss.named_parameters()
        if parameter.requires_grad and id(parameter) not in shared
    }


def load_loss_parameters(checkpoint: Path, loss: nn.Module, model: nn.Module) -> None:
    """Restore the loss's own parameters. The library's trainer keeps the encoder's weights only."""
    weights = loss_parameters(loss, model)
    if not weights:
        return
    saved = load_file(checkpoint / LOSS_FILE)
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(saved[name])


class MarkComplete(TrainerCallback):
    """Callback that adds the loss's own weights to a new checkpoint, and then marks it as complete."""

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
        if weights := loss_parameters(self._loss, self._model):
            save_file({name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, path / LOSS_FILE)
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
