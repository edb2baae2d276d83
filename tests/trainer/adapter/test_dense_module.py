"""A tuned model is a sentence-transformers model: the map is one of its modules, and part of its ONNX graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from stories import STORIES
from tests_support import make_tiny_model

import trainer.models.onnx
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder
from trainer.adapter.dense_module import with_map
from trainer.adapter.linear_map import apply
from trainer.models.artifact import write_model

PROMPTS = {"query": "the king and queen ", "document": "snow and rain in winter "}
VARIANTS: dict[str, dict[str, Any]] = {
    "normalised": {},
    "not normalised": {"normalise": False},
    "cls, dense": {"pooling": "cls", "dense": 16},
    "max, dense, not normalised, prompts": {"pooling": "max", "dense": 48, "normalise": False, "prompts": PROMPTS},
}
TEXTS = [*(text for _, _, text in STORIES), "cat", "unknown words only"]


@pytest.fixture(scope="module", params=VARIANTS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each variant."""
    return make_tiny_model(tmp_path_factory.mktemp("base"), **VARIANTS[request.param])


def matrix_for(base: Path, width: int | None = None) -> np.ndarray:
    """Return a map of the model's vectors that changes directions a good deal."""
    dimension = SentenceTransformer(str(base), device="cpu").get_embedding_dimension()
    return np.random.default_rng(0).normal(size=(width or dimension, dimension)).astype(np.float32)


def min_cosine(left: np.ndarray, right: np.ndarray) -> float:
    """Return the smallest cosine between rows."""
    return float(np.einsum("ij,ij->i", unit(left), unit(right)).min())


def test_a_plain_model_with_the_mapped_vectors(base: Path, tmp_path: Path) -> None:
    """Saved and loaded by sentence-transformers alone, it gives the mapped vectors of the base, of unit length."""
    matrix = matrix_for(base)
    with_map(base, matrix).save_pretrained(str(tmp_path), create_model_card=False)
    before, after = (SentenceTransformer(str(path), device="cpu") for path in (base, tmp_path))
    for encode in ("encode_query", "encode_document"):
        old = getattr(before, encode)(TEXTS, show_progress_bar=False)
        new = getattr(after, encode)(TEXTS, show_progress_bar=False)
        assert np.allclose(new, apply(matrix, unit(old)), atol=1e-5)
        assert np.allclose(np.linalg.norm(new, axis=1), 1, atol=1e-5)
        assert min_cosine(old, new) < 0.9 if old.shape == new.shape else True
    assert after.prompts == before.prompts
    assert after.max_seq_length == before.max_seq_length


def test_only_modules_of_the_library(base: Path, tmp_path: Path) -> None:
    """It consists of the library's modules, normalised once, at the end, with the map in safetensors."""
    with_map(base, matrix_for(base)).save_pretrained(str(tmp_path), create_model_card=False)
    kinds = [module["type"].rpartition(".")[2] for module in json.loads((tmp_path / "modules.json").read_text())]
    assert kinds[:2] == ["Transformer", "Pooling"]
    assert kinds[-2:] == ["Dense", "Normalize"]
    assert kinds.count("Normalize") == 1
    assert set(kinds) == {"Transformer", "Pooling", "Dense", "Normalize"}
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".bin", ".pt", ".pkl", ".py"}]


def test_onnx_gives_the_same(base: Path, tmp_path: Path) -> None:
    """The map is inside the ONNX graph: Dowse's encoder gives the same vectors as sentence-transformers, in fp32 and int8."""
    matrix = matrix_for(base)
    written = write_model(with_map(base, matrix), tmp_path / "out", TEXTS, int8=True)
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    expected = model.encode_document(TEXTS, show_progress_bar=False)
    for precision, minimum in (("fp32", 0.9999), ("int8", 0.98)):
        encoder = Encoder(tmp_path / "out", written.encoder, precision, cores=1)  # type: ignore[arg-type]
        assert min_cosine(encoder.encode_documents(TEXTS), expected) > minimum
    assert written.encoder.normalised
    assert written.encoder.dimension == matrix.shape[0]
    assert written.counts["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_without_a_map_it_is_the_model(base: Path) -> None:
    """Where no map was kept the model is the base, module by module."""
    same = with_map(base, None)
    loaded = SentenceTransformer(str(base), device="cpu")
    assert [type(module) for module in same] == [type(module) for module in loaded]
    assert min_cosine(same.encode(TEXTS), loaded.encode(TEXTS)) > 0.9999


def test_a_map_may_change_the_dimension(tiny_model: Path) -> None:
    """A map of shape (new, old) gives vectors of the new length."""
    matrix = matrix_for(tiny_model, width=12)
    model = with_map(tiny_model, matrix)
    assert model.get_embedding_dimension() == 12
    old = SentenceTransformer(str(tiny_model), device="cpu").encode(TEXTS)
    assert np.allclose(model.encode(TEXTS), apply(matrix, unit(old)), atol=1e-5)


def test_the_map_is_not_shared(tiny_model: Path) -> None:
    """The model has its own copy of the map: a change of the array does not change the model."""
    matrix = matrix_for(tiny_model)
    model = with_map(tiny_model, matrix)
    before = model.encode(TEXTS[:1])
    matrix[:] = 0
    assert np.array_equal(model.encode(TEXTS[:1]), before)
    assert not model.training
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


# --- written --------------------------------------------------------------------------------------------------------


def test_int8_weights_that_differ(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8-bit weights that give other vectors are an error where requested, and left out where they are optional."""
    monkeypatch.setattr(trainer.models.onnx, "MIN_COSINE", {"fp32": 0.999, "int8": 1.1})
    model = with_map(tiny_model, None)
    with pytest.raises(UserError, match="int8 ONNX encoder differs"):
        write_model(model, tmp_path / "required", TEXTS, int8=True)
    written = write_model(model, tmp_path / "offers", TEXTS, int8=True, require_int8=False)
    assert not (tmp_path / "offers" / "onnx" / "model_int8.onnx").exists()
    assert (tmp_path / "offers" / "onnx" / "model.onnx").is_file()
    assert "parity_fp32" in written.metrics
    assert "parity_int8" not in written.metrics


def test_fp32_weights_that_differ(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without exact 32-bit vectors nothing is written to be published, whether int8 is required or not."""
    monkeypatch.setattr(trainer.models.onnx, "MIN_COSINE", {"fp32": 1.1, "int8": 0.98})
    with pytest.raises(UserError, match="fp32 ONNX encoder differs"):
        write_model(with_map(tiny_model, None), tmp_path, TEXTS, int8=True, require_int8=False)


def test_a_killed_export_leaves_nothing(tiny_model: Path, tmp_path: Path) -> None:
    """What an export that was killed has left in the folder is gone."""
    (tmp_path / "out" / "onnx").mkdir(parents=True)
    (tmp_path / "out" / "onnx" / "model.whole").write_text("half")
    write_model(with_map(tiny_model, None), tmp_path / "out", TEXTS, int8=False)
    names = {path.name for path in (tmp_path / "out" / "onnx").iterdir()}
    assert names == {"model.onnx", "model.onnx.data"}
