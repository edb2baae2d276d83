"""The model that fine-tuning starts from: any encoder that transformers can load, with a new head for the labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from indexer.errors import UserError
from indexer.progress import stage
from trainer.training.base_model import quiet


@dataclass(frozen=True)
class Start:
    """The untrained model, its tokenizer, and how many tokens of a text it reads."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int


def load_start(directory: Path, labels: list[str], *, multi_label: bool, max_tokens: int | None, seed: int) -> Start:
    """Load an encoder in 32 bits and give it a new head for ``labels``.

    Raises:
        UserError: the directory holds no model that transformers can classify with, or its tokenizer has no fast form.
    """
    quiet()  # that the head is new, and another head is not used, is as it should be
    set_seed(seed)  # of the new head
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with stage("load the model"):
            config = AutoConfig.from_pretrained(
                str(directory),
                num_labels=len(labels),
                id2label=dict(enumerate(labels)),
                label2id={label: at for at, label in enumerate(labels)},
                problem_type="multi_label_classification" if multi_label else "single_label_classification",
                **options,
            )
            tokenizer = AutoTokenizer.from_pretrained(str(directory), use_fast=True, **options)
            model = AutoModelForSequenceClassification.from_pretrained(
                str(directory), config=config, dtype=torch.float32, ignore_mismatched_sizes=True, **options
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"{directory}: not loadable as a model to classify with ({reason}); give another --model"
        ) from error
    if not tokenizer.is_fast:
        raise UserError(f"{directory}: its tokenizer has no tokenizer.json; give a --model that has one")
    room = int(getattr(config, "max_position_embeddings", 512))
    longest = min(max_tokens or room, room, int(tokenizer.model_max_length))
    return Start(model, tokenizer, longest)
