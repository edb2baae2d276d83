"""The BERT that is pre-trained: a new one of the sizes that are asked for, or one from a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from indexer.errors import UserError, first_line
from trainer.models.base import locate
from trainer.pretrain.initialise import start_from_counts
from trainer.pretrain.settings import PretrainSettings
from trainer.training.base_model import quiet

HEAD_SIZE = 64
FINE_TUNING_DROPOUT = 0.1
"""What BERT's authors fine-tune with, and what the written configuration says."""


class Checkpoint(NamedTuple):
    """A model to go on from."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    nsp: bool
    """Whether it has a trained head for next-sentence prediction."""
    head: bool
    """Whether it has a trained head for masked words."""


def new_model(
    settings: PretrainSettings,
    log_frequency: npt.NDArray[np.float64],
    vectors: npt.NDArray[np.float32] | None,
    pad: int,
) -> BertForPreTraining:
    """Return a BERT of the sizes that the settings say, which knows what was counted and is random otherwise.

    Args:
        settings: sizes and seed.
        log_frequency: logarithm of each piece's share of the corpus, shape (vocabulary,).
        vectors: of the pieces, (vocabulary, at most width); None where the corpus is too small to tell.
        pad: id of the token that fills.

    Raises:
        UserError: the width cannot be divided among the heads.
    """
    heads = settings.heads or max(settings.hidden // HEAD_SIZE, 1)
    if settings.hidden % heads:
        raise UserError(f"--hidden {settings.hidden}: not a multiple of {heads} heads; change it or --heads")
    config = BertConfig(
        vocab_size=len(log_frequency),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=heads,
        intermediate_size=settings.intermediate or 4 * settings.hidden,
        max_position_embeddings=settings.max_length,
        hidden_dropout_prob=FINE_TUNING_DROPOUT,
        attention_probs_dropout_prob=FINE_TUNING_DROPOUT,
        pad_token_id=pad,
    )
    torch.manual_seed(settings.seed)
    model = BertForPreTraining(config)
    start_from_counts(model, log_frequency, vectors)
    return model


def set_dropout(model: nn.Module, share: float) -> None:
    """Let the model drop ``share`` in training; its configuration stays as it is."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def load_checkpoint(name: str) -> Checkpoint:
    """Return the model and the tokenizer of a directory of transformers or of sentence-transformers, in 32 bits.

    A BERT becomes a `BertForPreTraining`, whatever heads it has; heads that it lacks are new.

    Raises:
        UserError: nothing there can be gone on with.
    """
    quiet()
    name, directory = locate(name)
    directory = _weights(directory)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(directory, **options)
        kind: Any = BertForPreTraining if config.model_type == "bert" else AutoModelForMaskedLM
        tokenizer: Any = AutoTokenizer.from_pretrained(directory, **options)
        model, found = kind.from_pretrained(directory, dtype=torch.float32, output_loading_info=True, **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = first_line(error)
        raise UserError(f"--from {name}: not loadable as a model with masked words ({reason})") from error
    if not getattr(tokenizer, "is_fast", False) or tokenizer.mask_token_id is None:
        raise UserError(f"--from {name}: has no fast tokenizer with a mask token; give a BERT-like model")
    missing = " ".join(found["missing_keys"])
    return Checkpoint(
        name=name,
        model=model,
        tokenizer=tokenizer,
        nsp=isinstance(model, BertForPreTraining) and "seq_relationship" not in missing and "pooler" not in missing,
        head=not any(part in missing for part in ("predictions.transform", "lm_head.dense", "lm_head.layer_norm")),
    )


def _weights(directory: Path) -> Path:
    """Return where the transformer of a sentence-transformers directory lies; else the directory itself."""
    modules = directory / "modules.json"
    if not modules.is_file():
        return directory
    try:
        first = json.loads(modules.read_text(encoding="utf-8"))[0]["path"]
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{modules}: names no module; give a directory of a model") from error
    return directory / str(first)
