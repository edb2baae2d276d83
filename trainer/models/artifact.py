"""Content of a model artifact: the sentence-transformers files, the ONNX graphs, and a parity check between both."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sentence_transformers import SentenceTransformer

from indexer.artifacts.manifest import EncoderContract, library_versions
from indexer.progress import say, stage
from trainer.models.onnx import check_parity, encoder_contract, export_onnx, quantise

LIBRARIES = ("sentence-transformers", "transformers", "torch", "onnx", "onnxruntime")


@dataclass(frozen=True)
class WrittenModel:
    """Fields of the manifest that describe the written files."""

    encoder: EncoderContract
    counts: dict[str, int]
    metrics: dict[str, float]
    versions: dict[str, str]


def write_model(
    model: SentenceTransformer, folder: Path, texts: Sequence[str], *, int8: bool, require_int8: bool = True
) -> WrittenModel:
    """Write ``model`` into ``folder``, export it to ONNX, and compare the vectors of both.

    Args:
        model: ready for inference.
        folder: where to write; its earlier content is removed.
        texts: the texts whose vectors are compared.
        int8: also write 8-bit weights.
        require_int8: whether 8-bit weights that differ too much are an error; otherwise they are left out.

    Raises:
        UserError: the vectors of an export differ from the model's.
    """
    shutil.rmtree(folder, ignore_errors=True)  # an export is fast: one that was killed starts anew
    folder.mkdir(parents=True)
    model.save_pretrained(str(folder), create_model_card=False)
    contract = encoder_contract(model)
    int8_path = folder / "onnx" / "model_int8.onnx"
    with stage("export to ONNX"):
        export_onnx(model, folder / "onnx" / "model.onnx")
        if int8:
            quantise(folder / "onnx" / "model.onnx", int8_path)
    metrics = check_parity(model, folder, contract, list(texts), int8=int8, require_int8=require_int8)
    if int8 and "parity_int8" not in metrics:
        say("no 8-bit weights: they would give other vectors")
        int8_path.unlink()
    return WrittenModel(
        encoder=contract,
        counts={"parameters": sum(parameter.numel() for parameter in model.parameters())},
        metrics=metrics,
        versions=library_versions(*LIBRARIES),
    )
