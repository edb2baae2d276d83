"""The BERT that is pre-trained: a new one that starts from the statistics of the corpus, or one from a checkpoint.

A new BERT starts with what counting can tell, so that no step is spent on learning it:

- The bias of the head is the logarithm of each piece's frequency. The first loss is that of the unigram distribution.
- The dense layer of the head is the identity, so that the piece that stands at a position is its own first guess. One in
  five chosen positions shows its piece or a random one.
- Word embeddings are the leading directions of which pieces stand near which (`trainer.cooccurrence`); position embeddings
  are sines and cosines (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), between which attention finds neighbours.

- What attention reads it passes on: the output is the transpose of the values, smaller. So from the first step a [MASK]
  is told what stands around it, and the embeddings say which pieces go with that (the product of both matrices is what
  mimetic initialisation copies from trained models, Trockman and Kolter 2023, https://arxiv.org/abs/2305.09828).

All of them are trained on. What comes out is an ordinary `BertForPreTraining`.
"""

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

from indexer.errors import UserError
from trainer.base import locate
from trainer.settings_pretrain import PretrainSettings
from trainer.start import quiet

HEAD_SIZE = 64
FINE_TUNING_DROPOUT = 0.1
"""What BERT's authors fine-tune with, and what the written configuration says."""
WORDS, PLACES = 0.04, 0.02
"""Standard deviation of the word embeddings and size of the position embeddings of a new model."""
PASSED_ON = 0.3
"""Of what a new model's attention reads, so much is added to what stands at a position."""


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
    _start(model, log_frequency, vectors)
    return model


def set_dropout(model: nn.Module, share: float) -> None:
    """Let the model drop ``share`` in training; its configuration stays as it is."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


@torch.no_grad()
def _start(
    model: BertForPreTraining, log_frequency: npt.NDArray[np.float64], vectors: npt.NDArray[np.float32] | None
) -> None:
    width = model.config.hidden_size
    start_head(model, log_frequency)
    embeddings = model.bert.embeddings
    if vectors is not None:
        known = np.abs(vectors).sum(axis=1) > 0
        scaled = vectors[known] * (WORDS / max(float(vectors[known].std()), 1e-12))
        weight = embeddings.word_embeddings.weight
        weight[torch.from_numpy(np.flatnonzero(known)), : scaled.shape[1]] = torch.from_numpy(scaled)
    places = embeddings.position_embeddings.weight
    angle = torch.arange(len(places))[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    places[:, 0::2] = PLACES * angle.sin()
    places[:, 1::2] = PLACES * angle.cos()[:, : width // 2]
    layers: Any = model.bert.encoder.layer
    for layer in layers:
        turn, _ = torch.linalg.qr(torch.randn(width, width))
        layer.attention.self.value.weight.copy_(PASSED_ON * turn)
        layer.attention.output.dense.weight.copy_(turn.T)


@torch.no_grad()
def start_head(model: BertForPreTraining, log_frequency: npt.NDArray[np.float64]) -> None:
    """Let a head for masked words begin with the frequencies, and with what stands at a position."""
    head = model.cls.predictions
    head.bias.copy_(torch.from_numpy(log_frequency))
    head.transform.dense.weight.copy_(torch.eye(model.config.hidden_size))
    head.transform.dense.bias.zero_()


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
        reason = str(error).strip().splitlines()[0][:200]
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
