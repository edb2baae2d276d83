"""Model that a classifier's training starts from: a transformers model with a new head, or a frozen ONNX encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from indexer.artifacts.manifest import EncoderContract
from indexer.artifacts.store import ID_PATTERN, Store
from indexer.errors import UserError, first_line
from indexer.inference.encoder import MODEL_FILES, Encoder, Vectors
from indexer.progress import Bar, stage
from trainer.models.base import locate
from trainer.models.load import positions_of
from trainer.training.base_model import silence_libraries

BLOCK = 256


@dataclass(frozen=True)
class FrozenEncoder:
    """An encoder that is not trained: its name, the folder of its files, and the ONNX session."""

    name: str
    folder: Path
    encoder: Encoder

    @property
    def graph(self) -> Path:
        """The ONNX graph from token ids to the sentence embedding."""
        return self.folder / MODEL_FILES["fp32"]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the sentence embeddings of texts, shape (texts, dimension)."""
        blocks = []
        with Bar("embed", len(texts), "texts") as bar:
            for start in range(0, len(texts), BLOCK):
                blocks.append(self.encoder.encode_documents(texts[start : start + BLOCK]))
                bar.advance(len(blocks[-1]))
        return np.concatenate(blocks)


@dataclass(frozen=True)
class TrainableModel:
    """A transformers model with a classification head, which is trained in place; its tokenizer and longest input."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int


def find_directory(model: str | None, data: Path | None) -> tuple[str, Path]:
    """Return name and directory of the model that fine-tuning starts from; by default all-MiniLM-L6-v2.

    For a sentence-transformers model it is the directory of its transformer.

    Raises:
        UserError: there is no such model.
    """
    if model and ID_PATTERN.fullmatch(model):
        name, directory = model, Store("model", data).path(model)
    else:
        name, directory = locate(model)
    modules = directory / "modules.json"
    if not (directory / "config.json").is_file() and modules.is_file():
        directory /= str(json.loads(modules.read_bytes())[0]["path"])
    if not (directory / "config.json").is_file():
        raise UserError(f"{directory}: no config.json; give the directory of a transformers model with --model")
    return name, directory


def open_frozen_encoder(
    model: str | None, data: Path | None, scratch: Path, max_tokens: int | None, texts: list[str]
) -> FrozenEncoder:
    """Return the encoder for a logistic head, by default that of the live model, or the packaged all-MiniLM-L6-v2.

    A published model has its ONNX encoder. A model from any other directory is exported into ``scratch`` and compared
    with sentence-transformers on ``texts``.

    Raises:
        UserError: there is no such model, or the vectors of its export differ.
    """
    models = Store("model", data)
    if (model is None and models.current_id()) or (model and ID_PATTERN.fullmatch(model)):
        folder = models.resolve(model)
        models.verify(folder.name)
        contract = models.manifest(folder.name).contract
        return FrozenEncoder(folder.name, folder, Encoder(folder, _limit_tokens(contract, max_tokens)))
    from trainer.models.load import load_encoder
    from trainer.models.onnx import check_parity, encoder_contract, export_onnx

    name, directory = locate(model)
    with stage("load the model"):
        loaded = load_encoder(directory)
    loaded.save_pretrained(str(scratch), create_model_card=False)
    contract = encoder_contract(loaded)
    with stage("export the encoder to ONNX"):
        export_onnx(loaded, scratch / MODEL_FILES["fp32"])
    check_parity(loaded, scratch, contract, texts, int8=False)
    return FrozenEncoder(name, scratch, Encoder(scratch, _limit_tokens(contract, max_tokens)))


def load_trainable(
    directory: Path, labels: list[str], *, multi_label: bool, max_tokens: int | None, seed: int
) -> TrainableModel:
    """Load an encoder that transformers knows in 32 bits, with a new head for ``labels``.

    Raises:
        UserError: the directory holds no model that transformers can classify with, or its tokenizer has no fast form.
    """
    silence_libraries()  # they would warn of the new head and of an unused one; both are intended
    set_seed(seed)  # of the new head's weights
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with stage("load the model"):
            config = AutoConfig.from_pretrained(
                str(directory),
                num_labels=len(labels),
                id2label=dict(enumerate(labels)),
                label2id={label: index for index, label in enumerate(labels)},
                problem_type="multi_label_classification" if multi_label else "single_label_classification",
                **options,
            )
            tokenizer = AutoTokenizer.from_pretrained(str(directory), use_fast=True, **options)
            model = AutoModelForSequenceClassification.from_pretrained(
                str(directory), config=config, dtype=torch.float32, ignore_mismatched_sizes=True, **options
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = first_line(error)
        raise UserError(
            f"{directory}: not loadable as a model to classify with ({reason}); give another --model"
        ) from error
    if not tokenizer.is_fast:
        raise UserError(f"{directory}: its tokenizer has no tokenizer.json; give a --model that has one")
    positions = positions_of(model, config)
    longest = min(max_tokens or positions, positions, int(tokenizer.model_max_length))
    return TrainableModel(model, tokenizer, longest)


def _limit_tokens(contract: EncoderContract, max_tokens: int | None) -> EncoderContract:
    return contract.model_copy(update={"max_tokens": min(contract.max_tokens, max_tokens or contract.max_tokens)})
