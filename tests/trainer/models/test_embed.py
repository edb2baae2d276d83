"""`trainer embed`: vectors of texts in a file."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from stories import STORIES
from tests_support import make_tiny_model, publish
from typer.testing import CliRunner

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.encoder import Encoder
from trainer.cli import app
from trainer.models.embed import embed, read_texts
from trainer.models.settings import EmbedSettings

TEXTS = ["the cat sleeps", "the dog runs", "a ship at sea in the storm"]


@pytest.fixture
def live(tiny_data, monkeypatch):
    """Make the tiny model live and return its encoder."""
    monkeypatch.setenv("DOWSE_DATA", str(tiny_data))
    return Encoder.open(Store("model").resolve())


def run(*words, **options):
    """Run `trainer embed` and return what it printed."""
    done = CliRunner().invoke(app, ["embed", *map(str, words)], catch_exceptions=False, **options)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_tensor_that_loads_without_unpickling(tmp_path, live):
    """The default file is a float32 tensor of the live model's vectors, one row per text, in the order of the texts."""
    out = tmp_path / "sample_embeddings.pt"
    assert run(*TEXTS, "--out", out) == f"{out}\n"
    tensor = torch.load(out, weights_only=True)
    assert tensor.dtype == torch.float32 and tensor.shape == (3, 32)
    np.testing.assert_allclose(tensor.numpy(), live.encode_documents(TEXTS), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["sample_embeddings.pt"]


def test_array_and_table(tmp_path, live):
    """The same vectors as NumPy and as Parquet with the texts beside them."""
    run(*TEXTS, "--out", tmp_path / "v.npy")
    run(*TEXTS, "--out", tmp_path / "v.parquet")
    array = np.load(tmp_path / "v.npy", allow_pickle=False)
    table = pq.read_table(tmp_path / "v.parquet")
    np.testing.assert_allclose(array, live.encode_documents(TEXTS), atol=1e-6)
    assert table["text"].to_pylist() == TEXTS
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), dtype=np.float32), array)


def test_texts_from_standard_input_and_files(tmp_path, live, corpus):
    """Each line of stdin or of a text file is a text; tables give the named column; row n is text n."""
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    expected = live.encode_documents(TEXTS)
    for words, options in (((), {"input": "\n".join(TEXTS)}), (("--file", tmp_path / "texts.txt"), {})):
        run(*words, "--out", tmp_path / "v.npy", **options)
        np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-6)
    run("--file", corpus, "--text-column", "text", "--out", tmp_path / "v.npy")
    stories = live.encode_documents([text for _, _, text in STORIES])
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), stories, atol=1e-6)
    (tmp_path / "c.csv").write_text("nr,words\n1,the cat sleeps\n2,the dog runs\n")
    run("--file", tmp_path / "c.csv", "--text-column", "words", "--out", tmp_path / "v.npy")
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected[:2], atol=1e-6)


def test_many_texts_keep_their_order(tmp_path, live):
    """More texts than one batch, of different lengths, are written to the right rows."""
    texts = [" ".join(["cat", "dog", "ship", "sea"][: 1 + row % 4] * (1 + row % 3)) for row in range(600)]
    for name in ("v.npy", "v.pt", "v.parquet"):
        assert embed(texts, EmbedSettings(out=tmp_path / name), "document") == 600
    array = np.load(tmp_path / "v.npy")
    np.testing.assert_allclose(array, live.encode_documents(texts), atol=1e-5)
    np.testing.assert_array_equal(torch.load(tmp_path / "v.pt", weights_only=True).numpy(), array)
    assert pq.read_table(tmp_path / "v.parquet")["text"].to_pylist() == texts


def test_query_and_document_prompts(tmp_path, monkeypatch):
    """A model with prompts gives a query another vector than a document; both ways of loading agree."""
    folder = make_tiny_model(tmp_path / "prompted", prompts={"query": "red house ", "document": "old sea "})
    publish(folder, tmp_path / "data")
    monkeypatch.setenv("DOWSE_DATA", str(tmp_path / "data"))
    vectors = {}
    for side in ("query", "document"):
        for name, model in (("artifact", []), ("directory", ["--model", folder])):
            run(*TEXTS, "--as", side, *model, "--out", tmp_path / "v.npy")
            vectors[side, name] = np.load(tmp_path / "v.npy")
        np.testing.assert_allclose(vectors[side, "artifact"], vectors[side, "directory"], atol=1e-4)
    assert np.abs(vectors["query", "artifact"] - vectors["document", "artifact"]).max() > 0.01
    run(*TEXTS, "--precision", "int8", "--out", tmp_path / "v.npy")
    assert 0 < np.abs(np.load(tmp_path / "v.npy") - vectors["document", "artifact"]).max() < 0.2


def test_similar_prints_the_nearest_others(tmp_path, live):
    """Below each text are those with the largest cosine, nearest first; the text itself is left out, a copy of it not."""
    texts = [*TEXTS, TEXTS[0], "the horse runs in the garden"]
    lines = run(*texts, "--similar", 2, "--out", tmp_path / "v.pt").splitlines()
    vectors = live.encode_documents(texts)
    cosines = vectors @ vectors.T
    assert len(lines) == 15
    for row, text in enumerate(texts):
        others = sorted((other for other in range(5) if other != row), key=lambda other: -cosines[row, other])[:2]
        assert lines[3 * row] == text
        assert lines[3 * row + 1 : 3 * row + 3] == [f"  {cosines[row, other]:.3f}  {texts[other]}" for other in others]
    assert lines[1] == "  1.000  the cat sleeps"
    assert torch.load(tmp_path / "v.pt", weights_only=True).shape == (5, 32)
    assert run("the cat", "--similar", 3, "--out", tmp_path / "v.pt") == "the cat\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["x", "--out", "v.bin"], r"--out v\.bin: give a name that ends in \.pt, \.npy, \.parquet"),
        (["x", "--model", "nowhere"], "--model nowhere: neither a directory nor the id of a model"),
        (["x", "--file", "texts.txt"], "--file: texts are given as arguments too"),
        (["--file", "none.txt"], r"--file none\.txt: not readable"),
        (["x", " "], "text 2: empty"),
        (["--file", "holes.txt"], r"holes\.txt line 2: empty"),
        (["--file", "bytes.txt"], r"bytes\.txt: not readable as UTF-8"),
        (["--file", "empty.txt"], "no text to embed"),
    ],
)
@pytest.mark.usefixtures("live")
def test_mistakes_are_named_and_leave_no_file(tmp_path, monkeypatch, words, reason):
    """A mistake gives one line that says what is wrong, and no file is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holes.txt").write_text("one\n\ntwo\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\n")
    (tmp_path / "empty.txt").write_text("")
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=reason):
        CliRunner().invoke(app, ["embed", *words], catch_exceptions=False)
    assert set(tmp_path.rglob("*")) == before


def test_texts_are_streamed(monkeypatch):
    """Lines are read as they are embedded, not all at once."""
    read = []

    class Endless(io.StringIO):
        def __next__(self):
            read.append(1)
            return "the cat\n"

    monkeypatch.setattr("sys.stdin", Endless())
    texts, total = read_texts(EmbedSettings(), [])
    assert total is None
    assert next(iter(texts)) == "the cat"
    assert len(read) == 1
