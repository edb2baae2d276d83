"""Write a sentence-transformers model as a model artifact: its files, its ONNX graphs, and the proof that they agree."""

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
    """What a manifest says of the files that were written."""

    encoder: EncoderContract
    counts: dict[str, int]
    metrics: dict[str, float]
    versions: dict[str, str]


def write_model(
    model: SentenceTransformer, folder: Path, texts: Sequence[str], *, int8: bool, insist: bool = True
) -> WrittenModel:
    """Write ``model`` into the empty or old ``folder``, export it, and compare the exports with it.

    Args:
        model: ready for inference.
        folder: what is in it is removed.
        texts: the vectors of these are compared.
        int8: also write 8-bit weights.
        insist: whether 8-bit weights that differ too much are an error; otherwise they are left out.

    Raises:
        UserError: an export gives other vectors.
    """
    shutil.rmtree(folder, ignore_errors=True)  # an export is quick: nothing of a killed one is taken up
    folder.mkdir(parents=True)
    model.save_pretrained(str(folder), create_model_card=False)
    contract = encoder_contract(model)
    small = folder / "onnx" / "model_int8.onnx"
    with stage("export to ONNX"):
        export_onnx(model, folder / "onnx" / "model.onnx")
        if int8:
            quantise(folder / "onnx" / "model.onnx", small)
    metrics = check_parity(model, folder, contract, list(texts), int8=int8, insist=insist)
    if int8 and "parity_int8" not in metrics:
        say("no 8-bit weights: they would give other vectors")
        small.unlink()
    return WrittenModel(
        encoder=contract,
        counts={"parameters": sum(parameter.numel() for parameter in model.parameters())},
        metrics=metrics,
        versions=library_versions(*LIBRARIES),
    )
