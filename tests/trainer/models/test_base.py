"""Publishing a base model: complete and compared with sentence-transformers, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stories import write_corpus
from tests_support import make_tiny_model, publish

import trainer.models.onnx
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder
from trainer.models.base import DEFAULT_MODEL, locate, publish_base
from trainer.models.settings import BaseSettings


@pytest.fixture
def settings(tmp_path: Path) -> BaseSettings:
    """Return settings that check parity on the six stories, which is faster than on Python's documentation."""
    return BaseSettings(corpus=str(write_corpus(tmp_path / "parity.parquet")))


def publish_refused(model: str, settings: BaseSettings, data: Path) -> str:
    """Publish, assert that it is refused in one line and that nothing is published; return the line."""
    with pytest.raises(UserError) as error:
        publish_base(model, settings, data)
    store = Store("model", data)
    assert store.ids() == []
    assert store.current_id() is None
    message = str(error.value)
    assert "\n" not in message
    return message


# --- refused --------------------------------------------------------------------------------------------------------


def test_a_prefix_longer_than_the_vector(tiny_model: Path, settings: BaseSettings, tmp_path: Path) -> None:
    """A length above that of the model's vectors is refused; the message names the flag."""
    message = publish_refused(str(tiny_model), settings.model_copy(update={"matryoshka": "64,16"}), tmp_path / "data")
    assert message.startswith("--matryoshka 64: ")
    assert "length 32" in message


@pytest.mark.parametrize("model", ["./no-such-model", "/no/such/model", "../no-such"])
def test_unknown_local_path(model: str, settings: BaseSettings, tmp_path: Path) -> None:
    """A path that does not exist is not looked up on the Hub: the error names it and says what to give."""
    message = publish_refused(model, settings, tmp_path / "data")
    assert message.startswith(f"{model}: ")
    assert "directory" in message


def test_a_file_instead_of_a_directory(settings: BaseSettings, tmp_path: Path) -> None:
    """A file, such as the weights alone, is refused with what to give instead."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    assert "give one with a sentence-transformers model" in publish_refused(str(file), settings, tmp_path / "data")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": "nothing here"},
        {"config.json": "{"},
        {"config.json": '{"model_type": "no-such-architecture"}'},
        {"modules.json": "[]"},
        {"modules.json": '[{"idx": 0, "name": "0", "path": "", "type": "os.system"}]'},
    ],
)
def test_a_directory_that_is_no_model(files: dict[str, str], settings: BaseSettings, tmp_path: Path) -> None:
    """A directory without a loadable model is refused in one line that names it."""
    directory = tmp_path / "documents"
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_text(content)
    assert str(directory) in publish_refused(str(directory), settings, tmp_path / "data")


@pytest.mark.parametrize("model", ["no-such-organisation/no-such-model", "not a name", "a/b/c"])
def test_a_hub_name_offline(model: str, settings: BaseSettings, tmp_path: Path) -> None:
    """Where the Hub cannot be reached, or the name is invalid, the error says so and names the offline ways."""
    message = publish_refused(model, settings, tmp_path / "data")
    assert message.startswith(f"{model}: ")
    assert "Hub" in message
    assert "local directory" in message


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_model_whose_onnx_differs_is_refused(
    precision: str, settings: BaseSettings, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose ONNX vectors differ from those of sentence-transformers is never published."""
    limits = {**trainer.models.onnx.MIN_COSINE, precision: 1.1}
    monkeypatch.setattr(trainer.models.onnx, "MIN_COSINE", limits)
    settings = settings.model_copy(update={"int8": True})
    message = publish_refused(str(tiny_model), settings, tmp_path / "data")
    assert f"the {precision} ONNX encoder differs" in message
    assert "1.1" in message


def test_a_refused_model_leaves_the_live_one(
    settings: BaseSettings, tiny_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is refused does not touch the one that is live."""
    store = Store("model", data)
    before = (store.ids(), store.current_id())
    monkeypatch.setattr(trainer.models.onnx, "MIN_COSINE", {"fp32": 1.1, "int8": 1.1})
    with pytest.raises(UserError, match="differs"):
        publish_base(str(tiny_model), settings.model_copy(update={"force": True}), data)
    assert (store.ids(), store.current_id()) == before


# --- published ------------------------------------------------------------------------------------------------------


def test_published_once(settings: BaseSettings, tiny_model: Path, tmp_path: Path) -> None:
    """The same model again is up to date; with 8-bit weights, or with --force, it is another artifact."""
    data = tmp_path / "data"
    first = publish_base(str(tiny_model), settings, data)
    assert first.fresh
    again = publish_base(str(tiny_model), settings, data)
    assert not again.fresh
    assert again.manifest.id == first.manifest.id
    assert Store("model", data).ids() == [first.manifest.id]
    forced = publish_base(str(tiny_model), settings.model_copy(update={"force": True}), data)
    assert forced.fresh
    assert forced.manifest.fingerprint == first.manifest.fingerprint
    small = publish_base(str(tiny_model), settings.model_copy(update={"int8": True}), data)
    assert small.fresh
    assert small.manifest.fingerprint != first.manifest.fingerprint
    assert Store("model", data).current_id() == small.manifest.id


@pytest.mark.parametrize("architecture", ["roberta", "mpnet", "distilbert", "modernbert"])
def test_other_architectures(architecture: str, tmp_path: Path) -> None:
    """A model need not be a BERT: other inputs, positions and attention are exported as faithfully."""
    manifest = publish(make_tiny_model(tmp_path, architecture=architecture), tmp_path / "data")
    assert manifest.metrics["parity_fp32"] > 0.999


def test_what_a_model_artifact_holds(tiny_data: Path) -> None:
    """A model artifact is a sentence-transformers directory with its ONNX files, and only in safe formats."""
    store = Store("model", tiny_data)
    folder = store.resolve()
    manifest = store.verify(folder.name)
    assert {"model.safetensors", "tokenizer.json", "modules.json", "onnx/model.onnx", "onnx/model_int8.onnx"} <= set(
        manifest.files
    )
    assert {Path(name).suffix for name in manifest.files} <= {".json", ".safetensors", ".onnx", ".data", ".txt"}
    assert manifest.kind == "model"
    assert manifest.counts["parameters"] > 1000
    assert manifest.metrics["parity_fp32"] >= 0.999
    assert manifest.metrics["parity_int8"] >= 0.98
    assert manifest.config["int8"] is True
    assert {"torch", "sentence-transformers", "onnxruntime", "dowse"} <= manifest.versions.keys()
    assert json.loads((folder / "modules.json").read_text())
    assert not [path for path in store.root.iterdir() if path.name.startswith(".building-")]


@pytest.mark.parametrize("name", [None, "all-MiniLM-L6-v2", DEFAULT_MODEL])
def test_the_packaged_model_has_its_names(name: str | None) -> None:
    """The packaged model is found under each of its names without a network."""
    located, directory = locate(name)
    assert located == DEFAULT_MODEL
    assert (directory / "modules.json").is_file()


def test_real_model(minilm_data: Path) -> None:
    """The packaged default is published offline under its Hub name, with measured parity in both precisions."""
    manifest = Store("model", minilm_data).manifest(Store("model", minilm_data).resolve().name)
    assert manifest.config["base"] == DEFAULT_MODEL
    assert manifest.inputs[0].name == DEFAULT_MODEL
    assert manifest.metrics["parity_fp32"] >= 0.999
    assert manifest.metrics["parity_int8"] >= 0.98
    contract = manifest.contract
    assert (contract.dimension, contract.max_tokens, contract.pooling, contract.normalised) == (384, 256, "mean", True)
    assert manifest.counts["parameters"] == 22_713_216


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_real_model_knows_what_is_alike(minilm_data: Path, precision: str) -> None:
    """A paraphrase is nearer than a sentence about something else."""
    encoder = Encoder.open(Store("model", minilm_data).resolve(), precision, cores=1)
    query = unit(encoder.encode_query("A man is eating food."))
    near, far = unit(encoder.encode_documents(["A man is eating a meal", "The sky is blue"])) @ query
    assert near > 0.7
    assert far < 0.3
    assert np.isclose(np.linalg.norm(query), 1)
