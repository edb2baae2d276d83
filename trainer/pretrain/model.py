"""The BERT that is pre-trained: a new one of the sizes in the settings, or one from a checkpoint."""

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
from trainer.pretrain.initialise import initialise_from_counts
from trainer.pretrain.settings import PretrainSettings
from trainer.training.base_model import silence_libraries

HEAD_SIZE = 64
FINE_TUNING_DROPOUT = 0.1
"""Dropout in the written configuration, for fine-tuning: the value of BERT's authors."""


class BaseCheckpoint(NamedTuple):
    """A model that the training starts from."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    has_nsp_head: bool
    """Whether it has a trained next-sentence head."""
    has_mlm_head: bool
    """Whether it has a trained masked-language head."""


def new_model(
    settings: PretrainSettings,
    log_frequency: npt.NDArray[np.float64],
    vectors: npt.NDArray[np.float32] | None,
    pad: int,
) -> BertForPreTraining:
    """Return a BERT of the sizes in the settings, initialised from the counts and at random otherwise.

    Args:
        settings: sizes and seed.
        log_frequency: logarithm of each piece's share of the corpus, shape (vocabulary,).
        vectors: co-occurrence vectors, shape (vocabulary, at most width); None where the corpus is too small for them.
        pad: id of the padding token.

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
    initialise_from_counts(model, log_frequency, vectors)
    return model


def set_dropout(model: nn.Module, share: float) -> None:
    """Set the dropout of the model in training; its configuration stays unchanged."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def load_checkpoint(name: str) -> BaseCheckpoint:
    """Return the model and the tokenizer of a directory of transformers or of sentence-transformers, in 32 bits.

    A BERT becomes a `BertForPreTraining`; heads that it lacks are new.

    Raises:
        UserError: there is no model that can be pre-trained further.
    """
    silence_libraries()
    name, directory = locate(name)
    directory = _transformer_directory(directory)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(directory, **options)
        kind: Any = BertForPreTraining if config.model_type == "bert" else AutoModelForMaskedLM
        tokenizer: Any = AutoTokenizer.from_pretrained(directory, **options)
        model, loading = kind.from_pretrained(directory, dtype=torch.float32, output_loading_info=True, **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = first_line(error)
        raise UserError(f"--from {name}: not loadable as a masked-language model ({reason})") from error
    if not getattr(tokenizer, "is_fast", False) or tokenizer.mask_token_id is None:
        raise UserError(f"--from {name}: has no fast tokenizer with a mask token; give a BERT-like model")
    missing = " ".join(loading["missing_keys"])
    return BaseCheckpoint(
        name=name,
        model=model,
        tokenizer=tokenizer,
        has_nsp_head=isinstance(model, BertForPreTraining)
        and "seq_relationship" not in missing
        and "pooler" not in missing,
        has_mlm_head=not any(
            part in missing for part in ("predictions.transform", "lm_head.dense", "lm_head.layer_norm")
        ),
    )


def _transformer_directory(directory: Path) -> Path:
    """Return the folder of the transformer in a sentence-transformers directory; else the directory itself."""
    modules = directory / "modules.json"
    if not modules.is_file():
        return directory
    try:
        first = json.loads(modules.read_text(encoding="utf-8"))[0]["path"]
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{modules}: names no module; give the directory of a model") from error
    return directory / str(first)
