"""What a classifier starts from: a directory for fine-tuning, or an ONNX encoder that stays as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.artifacts.manifest import EncoderContract
from indexer.artifacts.store import ID_PATTERN, Store
from indexer.errors import UserError
from indexer.inference.encoder import MODEL_FILES, Encoder, Vectors
from indexer.progress import Bar, stage
from trainer.models.base import locate

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
    from trainer.models.onnx import encoder_contract, export_onnx, load
    from trainer.models.parity import check_parity

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
