"""Bases of the kinds that are on the Hub: each gives the vectors that sentence-transformers gives, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from stories import write_corpus
from tests_support import make_tiny_model
from tiny_encoders import byte_pairs, gemma_pieces, make_encoder, unigrams
from transformers import AutoModelForSequenceClassification

from indexer.artifacts.manifest import read_manifest
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder
from trainer.classify.base import load_trainable
from trainer.models.base import publish_base
from trainer.models.load import load_encoder
from trainer.models.reranker import publish_reranker
from trainer.models.settings import BaseSettings, RerankerSettings

TEXTS = ["the bird flies", "a big red house on the sea with the storm " * 12, "cat"]
QUERY = "the cat and the dog"
ROTARY = {"num_key_value_heads": 1, "head_dim": 16}


def published(model: Path, folder: Path, **settings: Any) -> Encoder:
    """Publish a model and return its encoder."""
    corpus = str(write_corpus(folder / "parity.parquet"))
    publish_base(str(model), BaseSettings(corpus=corpus, **settings), folder / "data")
    return Encoder.open(Store("model", folder / "data").resolve(), cores=1)


def assert_same(encoder: Encoder, queries: np.ndarray, documents: np.ndarray) -> None:
    """Compare with vectors of a query and of `TEXTS`; both are unit vectors."""
    cosines = [*(unit(encoder.encode_documents(TEXTS)) * unit(documents)).sum(axis=1)]
    cosines.append(float(unit(encoder.encode_query(QUERY)) @ unit(queries)))
    assert min(cosines) > 0.9995


@pytest.mark.parametrize(
    ("architecture", "tokenizer", "options"),
    [
        ("roberta", byte_pairs, {"pooling": "cls"}),
        ("xlm-roberta", unigrams, {"prompts": {"query": "query: ", "document": "passage: "}}),
        ("bert", unigrams, {"pooling": "cls", "dense": 48, "prompts": {"query": "find the cat: "}}),
        ("modernbert", byte_pairs, {"pooling": "cls", "local_attention": 8, "global_attn_every_n_layers": 2}),
        ("qwen3", gemma_pieces, {"pooling": "lasttoken", "prompts": {"query": "Query: "}, **ROTARY}),
        ("qwen3", byte_pairs, {"pooling": "lasttoken", **ROTARY}),
        ("gemma3_text", gemma_pieces, {"use_bidirectional_attention": True, "sliding_window": 8, **ROTARY}),
    ],
)
def test_as_sentence_transformers(architecture: str, tokenizer: Any, options: dict[str, Any], tmp_path: Path) -> None:
    """Tokenizer, attention, pooling, head and prompts of a model are served as its authors' library computes them."""
    model = make_encoder(tmp_path, architecture, tokenizer(), **options)
    reference = SentenceTransformer(str(model), device="cpu")
    encoder = published(model, tmp_path)
    assert encoder.contract.query_prompt == options.get("prompts", {}).get("query", "")
    assert_same(encoder, reference.encode_query(QUERY), reference.encode_document(TEXTS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_16_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    """A model that is stored with 16 bits is served with 32: ONNX Runtime cannot compute with bfloat16 on a CPU."""
    model = make_encoder(tmp_path, "bert", unigrams(), dtype=dtype, dense=48)
    reference = SentenceTransformer(str(model), device="cpu").float()
    encoder = published(model, tmp_path)
    assert_same(encoder, reference.encode_query(QUERY), reference.encode_document(TEXTS))


def test_no_more_tokens_than_positions(tmp_path: Path) -> None:
    """RoBERTa counts positions from the one after that of padding: 66 positions are 64 tokens, and longer texts are cut."""
    model = make_encoder(tmp_path, "roberta", byte_pairs(), max_tokens=None)
    assert published(model, tmp_path).contract.max_tokens == 64


def test_prompt_for_passages(tmp_path: Path) -> None:
    """A model whose prompt for documents is named passage gets it, in the index as in the artifact's own files."""
    prompts = {"query": "query: ", "passage": "passage: "}
    model = make_encoder(tmp_path, "xlm-roberta", unigrams(), prompts=prompts)
    reference = SentenceTransformer(str(model), device="cpu")
    encoder = published(model, tmp_path)
    assert encoder.contract.document_prompt == "passage: "
    assert_same(encoder, reference.encode_query(QUERY), reference.encode(TEXTS, prompt="passage: "))
    again = SentenceTransformer(str(encoder.folder), device="cpu")
    assert_same(encoder, again.encode_query(QUERY), again.encode_document(TEXTS))


@pytest.mark.parametrize("how", ["flag", "model"])
def test_matryoshka_cut(how: str, tmp_path: Path) -> None:
    """Vectors are cut to their first values and have unit length again, as the flag or the model says."""
    model = make_encoder(tmp_path, "bert", unigrams(), truncate=16 if how == "model" else None)
    encoder = published(model, tmp_path, dimensions=16 if how == "flag" else None)
    reference = SentenceTransformer(str(model), device="cpu", truncate_dim=16)
    assert encoder.contract.dimension == 16
    assert np.linalg.norm(encoder.encode_query(QUERY)) == pytest.approx(1, abs=1e-5)
    assert_same(encoder, reference.encode_query(QUERY), reference.encode_document(TEXTS))


def test_lengths_that_a_model_declares(tmp_path: Path) -> None:
    """Lengths of useful prefixes are taken from config.json, but for those beyond a cut; the flag goes first."""
    model = make_encoder(tmp_path, "bert", unigrams())
    change(model / "config.json", "matryoshka_dimensions", [8, 16, 32])

    def lengths(**settings: Any) -> list[int]:
        prefixes: list[int] = read_manifest(published(model, tmp_path, **settings).folder).config["matryoshka"]
        return prefixes

    assert lengths() == [32, 16, 8]
    assert lengths(dimensions=16) == [16, 8]
    assert lengths(matryoshka="24") == [24]


def test_cut_longer_than_the_vector(tmp_path: Path) -> None:
    """A cut that cuts nothing off is a mistake, and refused with the length of the vectors."""
    with pytest.raises(UserError, match=r"--dimensions 64: .*length 32"):
        load_encoder(make_tiny_model(tmp_path), 64)


def test_the_card_goes_with_the_weights(tmp_path: Path) -> None:
    """The model card, with the licence, is part of the artifact."""
    model = make_tiny_model(tmp_path)
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\nA model.\n", encoding="utf-8")
    encoder = published(model, tmp_path)
    assert (encoder.folder / "README.md").read_text(encoding="utf-8") == (model / "README.md").read_text(
        encoding="utf-8"
    )


def change(path: Path, name: str, value: object) -> None:
    """Set one field of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}), encoding="utf-8")


def test_code_of_the_model_is_never_run(tmp_path: Path) -> None:
    """A model that needs Python code from its own directory is refused before it is loaded, with the reason."""
    model = make_tiny_model(tmp_path)
    proof = tmp_path / "ran"
    (model / "modeling_own.py").write_text(f"open({str(proof)!r}, 'w').close()\n", encoding="utf-8")
    change(model / "config.json", "model_type", "own_bert")
    change(
        model / "config.json",
        "auto_map",
        {"AutoModel": "modeling_own.OwnModel", "AutoConfig": "modeling_own.OwnConfig"},
    )
    with pytest.raises(UserError, match=r"needs code of its own for 'own_bert'.*trust_remote_code"):
        load_encoder(model)
    assert not proof.exists()


def test_modules_of_the_model_are_never_run(tmp_path: Path) -> None:
    """The same of a module that is no part of sentence-transformers."""
    model = make_tiny_model(tmp_path)
    modules = json.loads((model / "modules.json").read_text())
    modules[0]["type"] = "custom_st.Transformer"
    (model / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (model / "custom_st.py").write_text("raise SystemExit('ran')\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"custom_st.Transformer.*trust_remote_code"):
        load_encoder(model)


def test_known_architecture_with_code_beside_it(tmp_path: Path) -> None:
    """Code beside a model whose architecture is in transformers is ignored, and the model served."""
    model = make_tiny_model(tmp_path)
    change(model / "config.json", "auto_map", {"AutoModel": "elsewhere/model--modeling_own.OwnModel"})
    assert load_encoder(model).get_embedding_dimension() == 32


def test_no_more_tokens_than_positions_to_classify_and_rerank(tmp_path: Path) -> None:
    """Models that read pairs, and those that learn labels, have as few positions as the encoder that they are made from."""
    directory = make_encoder(tmp_path, "roberta", byte_pairs(), max_tokens=None)
    trainable = load_trainable(directory, ["a", "b"], multi_label=False, max_tokens=512, seed=1)
    assert trainable.max_tokens == 64
    network = AutoModelForSequenceClassification.from_pretrained(str(directory), num_labels=1)
    network.save_pretrained(tmp_path / "pairs")
    byte_pairs().save_pretrained(tmp_path / "pairs")
    manifest = publish_reranker(str(tmp_path / "pairs"), RerankerSettings(), tmp_path / "data").manifest
    assert manifest.config["max_tokens"] == 64
