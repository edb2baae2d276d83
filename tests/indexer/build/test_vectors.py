"""Reuse of vectors: from which index they are taken, and that a linear map turns them into the right ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tales import write_tales
from tests_support import publish_mapped

import indexer.build.vectors
from indexer.artifacts.manifest import InputEntry, Manifest
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.build.vectors import JoinedVectors, KnownVectors, find_known_vectors, passage_key
from indexer.index.dense import DenseIndex, unit
from indexer.index.index import Index
from indexer.inference.encoder import Encoder
from indexer.inference.passages import encoder_input


def make(data: Path, corpus: Path, *, live: bool = True, **settings: object) -> Manifest:
    """Build an index of a corpus, with a fixed weight of the legs."""
    options = BuildSettings.model_validate({"language": "en", "dense_weight": 0.5, **settings})
    return build(str(corpus), options, data, cores=1, live=live).manifest


def make_matrix(seed: int) -> np.ndarray:
    """Return a random linear map."""
    return np.random.default_rng(seed).normal(size=(32, 32)).astype(np.float32)


def read_vectors(data: Path, artifact: str) -> tuple[np.ndarray, list[str]]:
    """Return the vectors of an index and the encoder inputs of its passages."""
    index = Index.open(Store("index", data).path(artifact), cores=1)
    texts = []
    for passage, row in enumerate(index.document_of.tolist()):
        document = index.document(row)
        texts.append(encoder_input(document.title, document.text[slice(*index.passage_offsets(passage))]))
    return index.dense.vectors(np.arange(len(index.dense))), texts


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two corpora of 20 tales, and one that has half of each."""
    folder = tmp_path_factory.mktemp("corpora")
    paths = [write_tales(folder / f"{seed}.parquet", 20, seed) for seed in range(2)]
    first, second = map(pq.read_table, paths)
    second = second.set_column(0, "id", pa.array([f"u{number}" for number in range(20)]))
    pq.write_table(pa.concat_tables([first[:10], second[10:]]), folder / "both.parquet")
    return [*paths, folder / "both.parquet"]


@pytest.fixture(scope="module")
def two_indexes(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, corpora: list[Path]) -> Path:
    """A data directory with an index of each of the first two corpora; neither is live."""
    data = Path(shutil.copytree(tiny_data, tmp_path_factory.mktemp("vectors") / "data"))
    for corpus in corpora[:2]:
        make(data, corpus, live=False)
    return data


@pytest.fixture
def indexed(tmp_path: Path, two_indexes: Path) -> Path:
    """A copy of that data directory for one test."""
    return Path(shutil.copytree(two_indexes, tmp_path / "data"))


# --- which index ----------------------------------------------------------------------------------------------------


def find_chosen(
    data: Path, inputs: list[InputEntry], monkeypatch: pytest.MonkeyPatch, precision: str = "fp32"
) -> str | None:
    """Return the id of the index from which vectors are taken."""
    opened: list[Path] = []
    monkeypatch.setattr(indexer.build.vectors, "KnownVectors", lambda folder, _=None: opened.append(folder) or "known")
    found = find_known_vectors(Store("index", data), Store("model", data).resolve(), precision, inputs)  # type: ignore[arg-type]
    assert (found is None) == (not opened)
    return opened[0].name if opened else None


def test_the_same_corpus_first_then_live_then_newest(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of the same files comes first, since it has every passage; then the live one; then the newest."""
    store = Store("index", indexed)
    first, second = store.ids()
    other = [InputEntry(name="other", size=1, sha256="00" * 32)]
    assert find_chosen(indexed, other, monkeypatch) == second
    assert find_chosen(indexed, store.manifest(first).inputs, monkeypatch) == first
    store.activate(first)
    assert find_chosen(indexed, other, monkeypatch) == first
    assert find_chosen(indexed, store.manifest(second).inputs, monkeypatch) == second


def test_vectors_of_other_weights_are_other_vectors(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of another precision or of another model are not reused."""
    inputs = Store("index", indexed).manifest(Store("index", indexed).ids()[0]).inputs
    assert find_chosen(indexed, inputs, monkeypatch, "int8") is None
    models = Store("model", indexed)
    with models.building():
        staging = models.staging("cd" * 32)
        base = models.resolve()
        shutil.copytree(base, staging, dirs_exist_ok=True)
        (staging / "manifest.json").unlink()
        models.publish(staging, models.manifest(base.name).model_copy(update={"fingerprint": "cd" * 32}))
    assert find_chosen(indexed, inputs, monkeypatch) is None


@pytest.mark.parametrize("file", ["vectors.faiss", "manifest.json"])
def test_a_damaged_index_is_passed_over(
    indexed: Path, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An index that was altered is named and skipped; the next best is taken, and the build goes on."""
    store = Store("index", indexed)
    first, second = store.ids()
    damaged = store.path(second) / file
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert find_chosen(indexed, [], monkeypatch) == first
    assert f"nothing is reused from the index {second}: {damaged}" in capsys.readouterr().err


def test_passages_that_are_known(indexed: Path, corpora: list[Path]) -> None:
    """A new corpus takes over the vectors of the passages that it shares with an index, and embeds the others."""
    again = make(indexed, corpora[0], overlap_tokens=31)  # another index of the same corpus
    assert again.counts["embedded"] == 0
    both = make(indexed, corpora[2])
    assert both.counts["embedded"] > 0
    assert both.counts["reused"] > 0
    assert both.counts["embedded"] + both.counts["reused"] == both.counts["passages"]
    vectors, texts = read_vectors(indexed, both.id)
    encoder = Encoder.open(Store("model", indexed).resolve(), cores=1)
    assert np.einsum("ij,ij->i", unit(encoder.encode_documents(texts)), vectors).min() > 0.999


def test_other_vectors_of_known_passages(indexed: Path) -> None:
    """The passages of an index can be looked up with other vectors in place of its own."""
    folder = Store("index", indexed).path(Store("index", indexed).ids()[0])
    own, texts = read_vectors(indexed, folder.name)
    others = unit(np.random.default_rng(1).normal(size=own.shape).astype(np.float32))
    known = KnownVectors(folder, vectors=DenseIndex.of(others))
    keys = [passage_key(texts[3]), passage_key("not there"), passage_key(texts[0])]
    found, vectors = known.find(keys)
    assert found.tolist() == [True, False, True]
    assert np.allclose(vectors, others[[3, 0]], atol=1e-6)
    assert np.allclose(KnownVectors(folder).find(keys)[1], own[[3, 0]])


def test_vectors_of_several_indexes(indexed: Path) -> None:
    """Passages are looked up in one index after the other, and come in the order of the keys; the first index wins."""
    folders = [Store("index", indexed).path(artifact) for artifact in Store("index", indexed).ids()]
    (one, one_texts), (two, two_texts) = (read_vectors(indexed, folder.name) for folder in folders)
    others = unit(np.random.default_rng(1).normal(size=one.shape).astype(np.float32))
    sources = [KnownVectors(folder) for folder in folders]
    joined = JoinedVectors([*sources, KnownVectors(folders[0], vectors=DenseIndex.of(others))])
    found, vectors = joined.find(
        [passage_key(text) for text in (two_texts[1], "not there", one_texts[3], two_texts[0])]
    )
    assert found.tolist() == [True, False, True, True]
    assert np.allclose(vectors, np.stack([two[1], one[3], two[0]]), atol=1e-6)
    assert joined.find([passage_key("not there")])[1].shape == (0, 32)


# --- a map ----------------------------------------------------------------------------------------------------------


def test_a_map_needs_no_encoder(indexed: Path, corpora: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model with a map behind it re-indexes a corpus by one matrix product; the vectors are those it gives itself."""
    base, _ = read_vectors(indexed, Store("index", indexed).ids()[0])
    tuned = publish_mapped(indexed, make_matrix(3))
    encoded: list[int] = []
    encode = Encoder.encode_documents
    monkeypatch.setattr(
        Encoder, "encode_documents", lambda self, texts: encoded.append(len(texts)) or encode(self, texts)
    )
    manifest = make(indexed, corpora[0])
    assert manifest.parents == {"model": tuned.id}
    assert manifest.counts["embedded"] == 0
    assert manifest.counts["reused"] == manifest.counts["passages"] > manifest.counts["documents"]
    assert sum(encoded) <= 20  # the self-check samples documents
    monkeypatch.undo()
    vectors, texts = read_vectors(indexed, manifest.id)
    expected = unit(Encoder.open(Store("model", indexed).path(tuned.id), cores=1).encode_documents(texts))
    assert np.einsum("ij,ij->i", expected, vectors).min() > 0.999
    assert np.einsum("ij,ij->i", base, vectors).max() < 0.999  # the map did something


def test_what_a_map_does_not_know_is_encoded(indexed: Path, corpora: list[Path]) -> None:
    """New passages are encoded by the tuned model itself, and their vectors are in the same space as the mapped ones."""
    tuned = publish_mapped(indexed, make_matrix(4))
    manifest = make(indexed, corpora[2])
    assert manifest.counts["embedded"] > 0
    assert manifest.counts["reused"] > 0
    vectors, texts = read_vectors(indexed, manifest.id)
    expected = unit(Encoder.open(Store("model", indexed).path(tuned.id), cores=1).encode_documents(texts))
    assert np.einsum("ij,ij->i", expected, vectors).min() > 0.999


def test_vectors_of_the_map_itself(indexed: Path, corpora: list[Path]) -> None:
    """Where the tuned model has an index already, its vectors are reused unchanged, not mapped again."""
    tuned = publish_mapped(indexed, make_matrix(5))
    first = make(indexed, corpora[0])
    indexes = Store("index", indexed)
    for artifact in indexes.ids():
        if indexes.manifest(artifact).parents["model"] != tuned.id:
            shutil.rmtree(indexes.root / artifact)
    again = make(indexed, corpora[0], overlap_tokens=31)
    assert again.counts["embedded"] == 0
    assert np.allclose(read_vectors(indexed, again.id)[0], read_vectors(indexed, first.id)[0], atol=1e-6)


def test_vectors_of_a_model_that_maps_queries(indexed: Path, corpora: list[Path]) -> None:
    """A base model's index takes its vectors from one of a model that maps queries only: these are the base's."""
    store, models = Store("index", indexed), Store("model", indexed)
    base = models.resolve().name
    own, _ = read_vectors(indexed, store.ids()[0])
    publish_mapped(indexed, make_matrix(6), queries_only=True)
    tuned = make(indexed, corpora[0])
    for artifact in store.ids():
        if artifact != tuned.id:
            shutil.rmtree(store.root / artifact)
    again = make(indexed, corpora[0], model=base)
    assert again.parents == {"model": base}
    assert again.counts["embedded"] == 0
    assert np.allclose(read_vectors(indexed, again.id)[0], own, atol=1e-6)


def test_an_index_whose_model_is_gone(indexed: Path, corpora: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """An index of a model that was removed by hand is named and passed over; the build goes on."""
    models, store = Store("model", indexed), Store("index", indexed)
    gone = store.manifest(store.ids()[0]).parents["model"]
    tuned = publish_mapped(indexed, make_matrix(7))
    shutil.rmtree(models.path(gone))
    manifest = make(indexed, corpora[0])
    assert manifest.parents == {"model": tuned.id}
    assert manifest.counts["embedded"] > 0
    assert f"nothing is reused from the index {store.ids()[0]}: " in capsys.readouterr().err
