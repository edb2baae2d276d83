"""The model that stands in for a new base: documents as the old model has them, queries by the new one and the map."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from indexer.artifacts.manifest import EncoderContract, Manifest
from indexer.build.vectors import MAP_FILE, maps_queries
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.inference.encoder import BRIDGE, BRIDGE_CONTRACT, BRIDGE_GRAPH, MODEL_FILES, Encoder
from indexer.progress import stage
from trainer.adapter.dense_module import with_affine_map
from trainer.adapter.ridge import AffineMap
from trainer.models.base import CARD
from trainer.models.onnx import MIN_COSINE, encoder_contract, export_onnx

TOKENIZER = "tokenizer.json"


def write_bridge(
    folder: Path, old: tuple[Path, Manifest], new: Path, learned: AffineMap, texts: Sequence[str]
) -> tuple[EncoderContract, float]:
    """Write the files of the model into ``folder``; return its contract and the smallest cosine to sentence-transformers.

    The old model's encoder of documents is part of it: documents that are written later get vectors of the same space,
    and the model does not depend on another one.

    Args:
        folder: where to write; its earlier content is removed.
        old: folder and manifest of the model whose documents these are.
        new: folder of the published model that encodes the queries.
        learned: the map from its vectors to the old ones.
        texts: queries on which the export is compared.

    Raises:
        UserError: the vectors of the export differ.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / BRIDGE).mkdir(parents=True)
    kept = [name for file in MODEL_FILES.values() for name in (file, f"{file}.data")] + [TOKENIZER, CARD]
    if maps_queries(old[1].config):
        kept.append(MAP_FILE)
    for name in kept:
        if name in old[1].files:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(old[0] / name, folder / name)
    for name in (TOKENIZER, CARD):
        if (new / name).is_file():
            shutil.copyfile(new / name, folder / BRIDGE / name)
    with stage("export the new model and the map to ONNX"):
        model = with_affine_map(new, learned.matrix, learned.bias)
        export_onnx(model, folder / BRIDGE / BRIDGE_GRAPH)
    other = encoder_contract(model)
    (folder / BRIDGE / BRIDGE_CONTRACT).write_text(other.model_dump_json(indent=2) + "\n", encoding="utf-8")
    contract = old[1].contract.model_copy(update={"query_prompt": other.query_prompt})
    with stage(f"compare with sentence-transformers on {len(texts)} texts"), torch.no_grad():
        expected = unit(model.encode_query(list(texts), show_progress_bar=False))
        made = unit(Encoder(folder, contract).encode_queries(texts))
    cosine = float(np.einsum("ij,ij->i", expected, made).min())
    if cosine < MIN_COSINE["fp32"]:
        raise UserError(
            f"the ONNX encoder differs from sentence-transformers: cosine {cosine:.4f}, needed {MIN_COSINE['fp32']}; "
            "not published"
        )
    return contract, cosine
