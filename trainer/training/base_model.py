"""The model that a training starts from: find it, load it in 32 bits, and freeze some of its layers."""

from __future__ import annotations

import json
import logging
import os
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import datasets
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch import nn
from transformers import PreTrainedModel

from indexer.artifacts.store import Store
from indexer.errors import UserError, first_line
from indexer.progress import stage
from trainer.models.base import locate

PoolingMode = Literal["cls", "mean"]


def find_base_model(model: str | None, data: Path | None = None) -> Path:
    """Return the directory of the model to start from.

    Args:
        model: a local directory or a name on the Hub; by default the live model artifact, or the packaged
            all-MiniLM-L6-v2 where nothing is live yet.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: there is no such model.
    """
    models = Store("model", data)
    if model is None and models.current_id() is not None:
        return models.resolve()
    return locate(model)[1]


def load_base_model(
    directory: Path, pooling: PoolingMode | None = None, default_pooling: PoolingMode = "mean"
) -> SentenceTransformer:
    """Load a model for training, on the CPU, with 32-bit weights: small steps of an optimizer are lost in 16 bits.

    Args:
        directory: of sentence-transformers, or of transformers alone (an encoder with or without the heads of
            pre-training).
        pooling: cls or mean in place of the pooling that the model has.
        default_pooling: the pooling of a model that has none.

    Raises:
        UserError: the directory holds no model that can be loaded.
    """
    silence_libraries()
    with stage("load the model") if is_first_process() else nullcontext():
        return _load(directory, pooling, default_pooling).float()


def read_weights(directory: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a model directory by name, in 32 bits."""
    weights: dict[str, torch.Tensor] = _load(directory, None, "mean").float().state_dict()
    return weights


def _load(directory: Path, pooling: PoolingMode | None, default_pooling: PoolingMode) -> SentenceTransformer:
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    weights: dict[str, Any] = {"dtype": torch.float32}
    try:
        if (directory / "modules.json").is_file():
            model = SentenceTransformer(str(directory), device="cpu", model_kwargs=weights, **options)
        else:
            encoder = Transformer(str(directory), model_kwargs=weights | options, config_kwargs=options)
            width = encoder.get_embedding_dimension()
            modules: list[nn.Module] = [encoder, Pooling(width, pooling_mode=pooling or default_pooling)]
            model = SentenceTransformer(modules=modules, device="cpu")
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        reason = first_line(error)
        raise UserError(f"{directory}: not loadable as a model to train ({reason})") from error
    if pooling:
        _replace_pooling(model, pooling)
    return model


def _replace_pooling(model: SentenceTransformer, mode: PoolingMode) -> None:
    for name, module in list(model.named_children()):
        if isinstance(module, Pooling) and module.pooling_mode != mode:
            model._modules[name] = Pooling(module.embedding_dimension, pooling_mode=mode)  # noqa: SLF001


def freeze(model: SentenceTransformer, layers: int | None) -> None:
    """Freeze the embeddings and the first ``layers`` layers; None freezes nothing.

    Frozen layers take no part in the backward pass, which saves its time and memory too.

    Raises:
        UserError: the model has fewer layers, or its architecture is not known.
    """
    if layers is None:
        return
    encoder = find_transformer(model)
    try:
        blocks = find_blocks(encoder)
    except UserError as error:
        raise UserError(f"--freeze: {error}; leave it out") from error
    if layers > len(blocks):
        raise UserError(f"--freeze {layers}: the model has {len(blocks)} layers; give no more than that")
    embeddings = getattr(encoder, "embeddings", encoder.get_input_embeddings())
    for module in (embeddings, *blocks[:layers]):
        module.requires_grad_(requires_grad=False)


def find_blocks(encoder: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of a transformer; raise `UserError` where the architecture does not show which these are."""
    depth = encoder.config.num_hidden_layers
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise UserError("the layers of this architecture are not known")


def find_transformer(model: SentenceTransformer) -> PreTrainedModel:
    """Return the transformer inside ``model``; raise `UserError` where there is none."""
    if model.transformers_model is None:
        raise UserError("the model has no transformer; this needs one")
    return model.transformers_model


def count_processes() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Return whether this is the first of several processes, or the only one: it alone prints and writes."""
    return os.environ.get("RANK", "0") == "0"


def silence_libraries() -> None:
    """Silence the libraries' progress bars, hints and reports of unused weights; our own stages say enough."""
    # Warnings about the libraries' own use of torch, repeated by every process at every step.
    warnings.filterwarnings("ignore", message=r".*(broadcast_buffers|all_gather).*deprecated", category=FutureWarning)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()
    for name in ("sentence_transformers", "accelerate", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
