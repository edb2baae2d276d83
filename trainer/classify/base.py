"""What a classifier starts from: a directory for fine-tuning, or an ONNX encoder that stays as it is."""

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
from trainer.training.base_model import quiet

BLOCK = 256


@dataclass(frozen=True)
class Frozen:
    """An encoder that is not trained: where its files are, its graph from token ids to the vector, and its name."""

    name: str
    folder: Path
    encoder: Encoder

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL_FILES["fp32"]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the sentence embeddings of texts, shape (texts, dimension)."""
        blocks = []
        with Bar("embed", len(texts), "texts") as bar:
            for start in range(0, len(texts), BLOCK):
                blocks.append(self.encoder.encode_documents(texts[start : start + BLOCK]))
                bar.advance(len(blocks[-1]))
        return np.concatenate(blocks)


def find_directory(model: str | None, data: Path | None) -> tuple[str, Path]:
    """Return name and directory of the model that fine-tuning starts from; by default all-MiniLM-L6-v2.

    Of a sentence-transformers model the directory is that of its transformer.

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


def open_frozen(
    model: str | None, data: Path | None, scratch: Path, max_tokens: int | None, texts: list[str]
) -> Frozen:
    """Return the encoder for a logistic head, by default that of the live model, or the packaged all-MiniLM-L6-v2.

    A published model has its ONNX encoder; that of any other directory is exported into ``scratch`` and compared with
    sentence-transformers on ``texts``.

    Raises:
        UserError: there is no such model, or its export gives other vectors.
    """
    models = Store("model", data)
    if (model is None and models.current_id()) or (model and ID_PATTERN.fullmatch(model)):
        folder = models.resolve(model)
        models.verify(folder.name)
        contract = models.manifest(folder.name).contract
        return Frozen(folder.name, folder, Encoder(folder, _shortened(contract, max_tokens)))
    from trainer.models.onnx import check_parity, encoder_contract, export_onnx, load

    name, directory = locate(model)
    with stage("load the model"):
        loaded = load(directory)
    loaded.save_pretrained(str(scratch), create_model_card=False)
    contract = encoder_contract(loaded)
    with stage("export the encoder to ONNX"):
        export_onnx(loaded, scratch / MODEL_FILES["fp32"])
    check_parity(loaded, scratch, contract, texts, int8=False)
    return Frozen(name, scratch, Encoder(scratch, _shortened(contract, max_tokens)))


def _shortened(contract: EncoderContract, max_tokens: int | None) -> EncoderContract:
    return contract.model_copy(update={"max_tokens": min(contract.max_tokens, max_tokens or contract.max_tokens)})


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
        reason = first_line(error)
        raise UserError(
            f"{directory}: not loadable as a model to classify with ({reason}); give another --model"
        ) from error
    if not tokenizer.is_fast:
        raise UserError(f"{directory}: its tokenizer has no tokenizer.json; give a --model that has one")
    room = int(getattr(config, "max_position_embeddings", 512))
    longest = min(max_tokens or room, room, int(tokenizer.model_max_length))
    return Start(model, tokenizer, longest)
