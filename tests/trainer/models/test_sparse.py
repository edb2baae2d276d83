"""Learned-sparse models: the published graph and table give the weights of sentence-transformers, or nothing is published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SparseEncoder as TorchEncoder
from tiny_sparse import MAX_TOKENS, make_tiny_sparse
from typer.testing import CliRunner

from indexer.artifacts import contents
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.sparse_encoder import MIN_WEIGHT, SparseEncoder
from trainer.cli import app
from trainer.models import sparse
from trainer.models.settings import SparseSettings
from trainer.models.sparse import publish_sparse

TEXTS = [
    "The cat sits in the garden.",
    "snow",
    "The ship is at sea. " * 10,
    "an unknown word",
    "The king and the queen.",
]
QUERIES = ["the cat in the garden", "snow snow rain", "zebra", "the", "king " * 30]


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"activation": "log1p_relu"},
        {"pooling": "sum"},
        {"prompts": {"query": "a king: ", "document": "the queen: "}},
    ],
    ids=["plain", "log1p", "sum", "prompts"],
)
def test_the_files_give_the_weights_of_sentence_transformers(tiny_model: Path, tmp_path: Path, kind: dict) -> None:
    """Whatever the activation, the pooling and the prompts: documents and queries have the weights that torch gives them."""
    directory = make_tiny_sparse(tiny_model, tmp_path, **kind)
    published = publish_sparse(str(directory), SparseSettings(), tmp_path / "data")
    assert published.fresh
    opened = SparseEncoder.open(Store("sparse", tmp_path / "data").resolve())
    original = TorchEncoder(str(directory), device="cpu")
    documents = original.encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()
    assert np.allclose(opened.document_weights(TEXTS), documents, atol=1e-4)
    queries = original.encode_query(QUERIES, convert_to_sparse_tensor=False).numpy()
    for text, expected in zip(QUERIES, queries, strict=True):
        terms, weights = opened.query_terms(text)
        assert terms.tolist() == np.flatnonzero(expected).tolist()
        assert np.array_equal(weights, expected[terms])


def test_the_largest_weights_that_a_query_can_ask_for(tiny_model: Path, tmp_path: Path) -> None:
    """A document keeps its largest weights in the order of the terms, none of a term that no query gives a weight."""
    publish_sparse(str(make_tiny_sparse(tiny_model, tmp_path)), SparseSettings(), tmp_path / "data")
    opened = SparseEncoder.open(Store("sparse", tmp_path / "data").resolve())
    never = opened._weights <= 0
    assert never.any()
    weights = opened.document_weights(TEXTS)
    assert (weights[:, never] > MIN_WEIGHT).any()
    for row, (terms, values) in zip(weights, opened.encode_documents(TEXTS, 9).vectors(), strict=True):
        row[never] = 0
        assert len(terms) == 9 and (np.diff(terms) > 0).all()
        assert set(terms.tolist()) == set(np.argsort(-row, kind="stable")[:9].tolist())
        assert np.array_equal(values, row[terms].astype(np.float16))
    most = opened.encode_documents(TEXTS, 1000).vectors()
    assert all(not never[terms].any() and (values > 0).all() for terms, values in most)


def test_the_artifact(tiny_model: Path, tmp_path: Path) -> None:
    """The manifest says how a text is read; everything in it, and every file, is in the reference."""
    directory = make_tiny_sparse(tiny_model, tmp_path)
    manifest = publish_sparse(str(directory), SparseSettings(), tmp_path / "data").manifest
    assert not publish_sparse(str(directory), SparseSettings(), tmp_path / "data").fresh
    assert publish_sparse(str(directory), SparseSettings(force=True), tmp_path / "data").fresh
    assert manifest.contract.max_tokens == MAX_TOKENS == manifest.config["query_tokens"]
    assert set(manifest.config) == set(contents.CONFIG["sparse"])
    assert set(manifest.counts) == set(contents.COUNTS["sparse"])
    assert set(manifest.metrics) == set(contents.METRICS["sparse"])
    assert set(manifest.files) == set(contents.FILES["sparse"])


def test_a_model_that_queries_need_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Where queries go through the network too, nothing is published, and the reason is named."""
    directory = make_tiny_sparse(tiny_model, tmp_path, table=False)
    with pytest.raises(UserError, match="needs a model at query time"):
        publish_sparse(str(directory), SparseSettings(), tmp_path / "data")
    assert Store("sparse", tmp_path / "data").ids() == []


def test_other_directories_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    """A directory without a model is refused in one line, and so is one of another kind."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not loadable as a learned-sparse model"):
        publish_sparse(str(tmp_path / "empty"), SparseSettings(), tmp_path / "data")
    with pytest.raises(UserError):
        publish_sparse(str(tiny_model), SparseSettings(), tmp_path / "data")


def test_a_graph_that_differs_is_not_published(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph or a table with other weights than torch is refused, with the difference."""
    directory = make_tiny_sparse(tiny_model, tmp_path)
    monkeypatch.setattr(sparse, "compare_weights", lambda *_: {"parity_document": 0.2, "parity_query": 0.0})
    with pytest.raises(UserError, match=r"differ from torch by 0\.2"):
        publish_sparse(str(directory), SparseSettings(), tmp_path / "data")
    assert Store("sparse", tmp_path / "data").ids() == []


def test_the_comparison_sees_a_wrong_table(tiny_model: Path, tmp_path: Path) -> None:
    """The comparison is of the published files: one weight that was changed on the disk is found."""
    directory = make_tiny_sparse(tiny_model, tmp_path)
    manifest = publish_sparse(str(directory), SparseSettings(), tmp_path / "data").manifest
    opened = SparseEncoder.open(Store("sparse", tmp_path / "data").path(manifest.id))
    opened._weights = opened._weights + np.float32(0.5)
    assert sparse.compare_weights(sparse.load_sparse(directory), opened)["parity_query"] > 0.4


def test_the_command(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`trainer sparse MODEL` publishes, and prints the id."""
    monkeypatch.setenv("DOWSE_DATA", str(tmp_path / "data"))
    done = CliRunner().invoke(app, ["sparse", str(make_tiny_sparse(tiny_model, tmp_path))])
    assert done.exit_code == 0, done.output
    assert done.stdout.split()[-1] == Store("sparse", tmp_path / "data").current_id()
