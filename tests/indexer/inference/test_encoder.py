"""Encoder: the vectors of sentence-transformers by ONNX Runtime, for models of any modules."""

from __future__ import annotations

import random
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from sentence_transformers import SentenceTransformer
from stories import STORIES, WORDS, write_corpus
from tests_support import make_tiny_model

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.encoder import QUERY_FILE, Encoder, Precision
from indexer.inference.session import batches_by_length, load_tokenizer
from trainer.models.base import publish_base
from trainer.models.onnx import export_onnx
from trainer.models.settings import BaseSettings
from trainer.query_encoder.student import make_student

PROMPTS = {"query": "the king and queen ", "document": "snow and rain in winter "}
VARIANTS: dict[str, dict[str, Any]] = {
    "mean": {},
    "cls": {"pooling": "cls"},
    "max": {"pooling": "max"},
    "mean, not normalised": {"normalise": False},
    "mean, dense": {"dense": 16},
    "cls, dense, not normalised": {"pooling": "cls", "dense": 48, "normalise": False},
    "max, prompts, short": {"pooling": "max", "prompts": PROMPTS, "max_tokens": 16},
}
QUERIES = ["the cat", "a storm at sea", "king", "unknownword", "."]


@dataclass(frozen=True)
class Pair:
    """A model as sentence-transformers runs it, and the same as Dowse runs it."""

    options: dict[str, Any]
    model: SentenceTransformer
    encoder: Encoder


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Publish a tiny model of each variant."""
    folder = tmp_path_factory.mktemp("variant")
    options = VARIANTS[request.param]
    directory = make_tiny_model(folder, **options)
    corpus = write_corpus(folder / "corpus.parquet")
    manifest = publish_base(str(directory), BaseSettings(corpus=str(corpus)), folder / "data").manifest
    encoder = Encoder.open(Store("model", folder / "data").path(manifest.id), cores=1)
    return Pair(options, SentenceTransformer(str(directory), device="cpu"), encoder)


@pytest.fixture(scope="module")
def encoder(tiny_data: Path) -> Encoder:
    """Return the encoder of the tiny model, on four cores whatever the machine has."""
    return Encoder.open(Store("model", tiny_data).resolve(), cores=4)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of rows."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("ij,ij->i", left, right) / lengths


def make_sentence(words: int, seed: int) -> str:
    """Return a sentence of random words."""
    return " ".join(random.Random(seed).choices(WORDS, k=words))


# --- the same vectors -----------------------------------------------------------------------------------------------


def test_contract_comes_from_the_files_of_the_model(pair: Pair) -> None:
    """Dimension, length, pooling, normalisation and prompts come from the model's own files."""
    contract, options = pair.encoder.contract, pair.options
    assert contract.dimension == options.get("dense", 32)
    assert contract.max_tokens == options.get("max_tokens", 32)
    assert contract.pooling == options.get("pooling", "mean")
    assert contract.normalised is options.get("normalise", True)
    prompts = options.get("prompts", {"query": "", "document": ""})
    assert (contract.query_prompt, contract.document_prompt) == (prompts["query"], prompts["document"])
    assert contract.pad_token_id == 0


def test_documents_as_sentence_transformers(pair: Pair) -> None:
    """A text of the corpus gets the vector of `encode_document`, in direction and in length."""
    texts = [*(text for _, _, text in STORIES), "cat", "", make_sentence(200, 1), "unknown words only"]
    expected = pair.model.encode_document(texts, show_progress_bar=False)
    vectors = pair.encoder.encode_documents(texts)
    assert vectors.dtype == np.float32
    assert cosines(expected, vectors).min() > 0.999
    assert np.allclose(np.linalg.norm(expected, axis=1), np.linalg.norm(vectors, axis=1), rtol=1e-3)


def test_queries_as_sentence_transformers(pair: Pair) -> None:
    """A query gets the vector of `encode_query`."""
    expected = pair.model.encode_query(QUERIES, show_progress_bar=False)
    vectors = np.stack([pair.encoder.encode_query(query) for query in QUERIES])
    assert cosines(expected, vectors).min() > 0.999


def test_many_queries_at_once(pair: Pair) -> None:
    """Queries that are encoded together get the same vectors as alone, with the query prompt, in their order."""
    queries = [*QUERIES, make_sentence(30, 2), "the cat", *(make_sentence(size, size) for size in range(1, 20))]
    alone = np.stack([pair.encoder.encode_query(query) for query in queries])
    together = pair.encoder.encode_queries(queries)
    assert together.dtype == np.float32
    assert np.allclose(together, alone, atol=1e-4 * np.abs(alone).max())
    assert pair.encoder.encode_queries([]).shape == (0, pair.encoder.contract.dimension)


def test_prompts_are_applied(pair: Pair) -> None:
    """A model with prompts gives a query another vector than a document of the same text; one without does not."""
    queries = np.stack([pair.encoder.encode_query(query) for query in QUERIES])
    documents = pair.encoder.encode_documents(QUERIES)
    if "prompts" not in pair.options:
        assert cosines(queries, documents).min() > 0.9999
        return
    assert cosines(queries, documents).max() < 0.999
    plain = pair.model.encode(QUERIES, prompt="", show_progress_bar=False)
    assert cosines(queries, plain).max() < 0.999
    assert cosines(documents, plain).max() < 0.999


def test_long_texts_are_cut_at_the_maximum(pair: Pair) -> None:
    """Text beyond the longest input of the model has no influence on the vector; text before it has."""
    contract = pair.encoder.contract
    special = 2
    prompt = len(contract.document_prompt.split())
    room = contract.max_tokens - special - prompt
    words = make_sentence(3 * room, 2).split()
    cut, other_tail, other_end = (
        words[:room],
        [*words[:room], *make_sentence(50, 3).split()],
        [*words[: room - 1], "queen"],
    )
    assert words[room - 1] != "queen"
    whole, *others = pair.encoder.encode_documents([" ".join(part) for part in (words, cut, other_tail, other_end)])
    differences = [float(np.abs(whole - other).max()) for other in others]
    assert differences[0] < 1e-5
    assert differences[1] < 1e-5
    assert differences[2] > 5e-5


def test_real_model_as_sentence_transformers(minilm_data: Path) -> None:
    """The default model, all-MiniLM-L6-v2, gives the published vectors in both precisions."""
    model = Store("model", minilm_data).resolve()
    texts = [text for _, _, text in STORIES] + ["Zürich, naïve café — 東京 🙂", "word " * 600]
    expected = SentenceTransformer(str(model), device="cpu").encode(texts, show_progress_bar=False)
    exact = Encoder.open(model, cores=1).encode_documents(texts)
    assert exact.shape == (len(texts), 384)
    assert cosines(expected, exact).min() > 0.999
    assert cosines(expected, Encoder.open(model, "int8", cores=1).encode_documents(texts)).min() > 0.96


def test_int8_weights_are_used(tiny_data: Path, encoder: Encoder) -> None:
    """Vectors by 8-bit weights are near the exact ones, and not the same."""
    texts = [text for _, _, text in STORIES]
    exact = encoder.encode_documents(texts)
    rounded = Encoder.open(Store("model", tiny_data).resolve(), "int8", cores=1).encode_documents(texts)
    assert cosines(exact, rounded).min() > 0.95
    assert not np.array_equal(exact, rounded)


# --- refused --------------------------------------------------------------------------------------------------------


def test_int8_absent_names_the_command(tmp_path: Path) -> None:
    """For a model that was published without 8-bit weights, the error says how to publish it with them."""
    corpus = write_corpus(tmp_path / "corpus.parquet")
    directory = make_tiny_model(tmp_path)
    manifest = publish_base(str(directory), BaseSettings(corpus=str(corpus)), tmp_path / "data").manifest
    with pytest.raises(UserError, match=r"no int8 weights.*python -m trainer base.* --int8"):
        Encoder.open(Store("model", tmp_path / "data").path(manifest.id), "int8")


def test_a_directory_without_tokenizer_is_refused(tmp_path: Path) -> None:
    """A model without a tokenizer file is refused with the name of the file and the command that makes it."""
    with pytest.raises(UserError, match=r"tokenizer\.json: missing.*python -m trainer base"):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match=r"manifest\.json"):
        Encoder.open(tmp_path)


def test_a_tokenizer_without_a_free_descriptor(tmp_path: Path) -> None:
    """That a file cannot be opened is an error of the system, which passes, and none of the tokenizer's own."""
    directory = make_tiny_model(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            load_tokenizer(directory)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    load_tokenizer(directory)


# --- batches, order, threads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_batches_are_bounded_and_complete(seed: int) -> None:
    """Every position is in exactly one batch; no batch of two rows or more exceeds the budget when padded."""
    rng = random.Random(seed)
    budget = rng.choice([1, 16, 64, 512])
    tokens = [[0] * rng.randint(1, 90) for _ in range(rng.randint(0, 300))]
    batches = batches_by_length(tokens, budget)
    assert sorted(position for batch in batches for position in batch) == list(range(len(tokens)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(len(tokens[row]) for row in batch) <= budget
    lengths = [len(tokens[row]) for batch in batches for row in batch]
    assert lengths == sorted(lengths, reverse=True)
    if budget == 512:  # short texts share a batch: padding is bounded, and so is the number of calls
        assert len(batches) <= sum(lengths) // 256 + 1


def test_order_of_documents_is_kept(encoder: Encoder) -> None:
    """Texts are sorted into batches by length, and the vectors still come in the order of the texts."""
    texts = [make_sentence(words, words) for words in random.Random(5).sample(range(1, 160), 120)]
    together = encoder.encode_documents(texts)
    alone = np.concatenate([encoder.encode_documents([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-4)
    assert np.abs(together[:-1] - together[1:]).max(axis=1).min() > 1e-3  # neighbours differ: a shift would be seen


def test_no_documents(encoder: Encoder) -> None:
    """No texts give no vectors, of the right width."""
    assert encoder.encode_documents([]).shape == (0, 32)


def test_from_eight_threads(encoder: Encoder) -> None:
    """Queries and documents from several threads at once get the same vectors as alone."""
    texts = [make_sentence(1 + number % 40, number) for number in range(200)]
    alone = np.stack([encoder.encode_query(text) for text in texts])
    with ThreadPoolExecutor(8) as threads:
        queries = threads.map(encoder.encode_query, texts)
        documents = threads.map(encoder.encode_documents, [texts[at : at + 10] for at in range(0, 200, 10)])
        assert np.allclose(np.stack(list(queries)), alone, atol=1e-4)
        assert np.allclose(np.concatenate(list(documents)), alone, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("cores", [1, 2, 4])
def test_a_vector_does_not_depend_on_its_company(minilm_data: Path, precision: Precision, cores: int) -> None:
    """To the bit: a query gets one vector alone, among many, on one thread or several, and out of the cache."""
    encoder = Encoder.open(Store("model", minilm_data).resolve(), precision, cores=cores, query_cache_bytes=100_000)
    texts = [make_sentence(words, words) for words in (1, 2, 3, 5, 7, 8, 11, 16, 23, 40, 120)] + ["Café — 東京 🙂", "?"]
    assert encoder.batches_exactly == (precision == "fp32")
    alone = np.stack([encoder.encode_query(text) for text in texts])
    spread = np.stack([Encoder.open(encoder.folder, precision, cores=1).encode_query(text) for text in texts])
    assert np.array_equal(spread, alone)
    assert np.array_equal(np.stack([encoder.encode_query(text) for text in texts]), alone)
    assert np.array_equal(encoder.encode_queries(texts), alone)
    assert np.array_equal(encoder.encode_queries(texts[::-1])[::-1], alone)
    with ThreadPoolExecutor(8) as threads:
        fresh = Encoder.open(encoder.folder, precision, cores=cores)
        assert np.array_equal(np.stack(list(threads.map(fresh.encode_query, texts * 4))), np.tile(alone, (4, 1)))
    if encoder.batches_exactly:
        assert np.array_equal(Encoder.open(encoder.folder, precision).encode_batch(texts), alone)
    separate = np.concatenate([encoder.encode_documents([text]) for text in texts])
    assert np.array_equal(encoder.encode_documents(texts, exactly=True), separate)
    if precision == "int8":
        assert np.array_equal(encoder.encode_documents(texts), separate)


# --- the small query encoder ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_small(tmp_path_factory: pytest.TempPathFactory, minilm_data: Path) -> Path:
    """The real default model with a small query encoder: its own layers with fewer neurons."""
    model = Path(shutil.copytree(Store("model", minilm_data).resolve(), tmp_path_factory.mktemp("small") / "model"))
    texts = [make_sentence(2 + number % 7, number) for number in range(300)]
    student, _ = make_student(model, texts)
    export_onnx(student, model / QUERY_FILE)
    return model


@pytest.mark.parametrize("cores", [1, 2])
def test_a_small_encoder_for_queries(with_small: Path, cores: int) -> None:
    """Every way to encode a query uses the small encoder, to the bit; documents have the full one's vectors."""
    full = Encoder.open(with_small, cores=cores)
    small = Encoder.open(with_small, cores=cores, query_cache_bytes=100_000, query_encoder="small")
    texts = [make_sentence(words, words) for words in (1, 2, 3, 5, 8, 11, 16, 40)] + ["Café — 東京 🙂", "?"]
    assert np.array_equal(small.encode_documents(texts), full.encode_documents(texts))
    alone = np.stack([Encoder.open(with_small, cores=1, query_encoder="small").encode_query(text) for text in texts])
    assert cosines(alone[:6], full.encode_queries(texts[:6])).mean() > 0.8
    assert np.abs(alone - full.encode_queries(texts)).max() > 0.01
    assert small.batches_exactly
    for _ in range(2):  # computed, then out of the cache
        assert np.array_equal(np.stack([small.encode_query(text) for text in texts]), alone)
    assert np.array_equal(small.encode_queries(texts), alone)
    assert np.array_equal(Encoder.open(with_small, query_encoder="small").encode_batch(texts), alone)


def test_8_bit_documents_beside_a_small_query_encoder(with_small: Path) -> None:
    """The precision is that of the documents; the small query encoder has 32-bit weights and is exact in batches."""
    rounded = Encoder.open(with_small, "int8", cores=1, query_encoder="small")
    exact = Encoder.open(with_small, cores=1, query_encoder="small")
    assert np.array_equal(rounded.encode_query("a storm at sea"), exact.encode_query("a storm at sea"))
    assert not np.array_equal(rounded.encode_documents(["a storm"]), exact.encode_documents(["a storm"]))
    assert rounded.batches_exactly


def test_a_model_without_the_small_one(tiny_data: Path) -> None:
    """A small query encoder that the model does not have is refused with the file and the remedy."""
    with pytest.raises(UserError, match=r"query\.onnx: missing; .*--query-encoder full"):
        Encoder.open(Store("model", tiny_data).resolve(), query_encoder="small")


# --- GPU ------------------------------------------------------------------------------------------------------------


def test_without_a_gpu_the_encoder_takes_the_cpu(tiny_data: Path, encoder: Encoder) -> None:
    """An encoder that may use a GPU works where ONNX Runtime has none, and says so."""
    other = Encoder.open(Store("model", tiny_data).resolve(), gpu=True)
    assert other.device == encoder.device == "cpu"
    assert np.array_equal(other.encode_documents(["the king"]), encoder.encode_documents(["the king"]))


def test_where_there_is_a_gpu_documents_go_to_it(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The full graph runs on the GPU, in 32 bits as on the CPU, and in larger batches; a small query graph does not."""
    session, asked = onnxruntime.InferenceSession, []

    def open_on_cpu(path: str, options: Any, providers: list[Any]) -> onnxruntime.InferenceSession:
        asked.append(providers)
        return session(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_on_cpu)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    encoder = Encoder.open(Store("model", tiny_data).resolve(), cores=2, gpu=True)
    assert encoder.device == "cuda"
    assert asked == [[("CUDAExecutionProvider", {"use_tf32": 0}), "CPUExecutionProvider"]]
    budgets: list[int] = []
    monkeypatch.setattr("indexer.inference.encoder.run_batches", lambda *_, budget: budgets.append(budget))
    encoder.encode_documents(["the king"])
    assert budgets == [16_384]
