"""Build of an index: what it holds, what is reused, and which index is live afterwards."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stories import STORIES, WORDS, write_corpus
from tests_support import make_tiny_model

from indexer.artifacts.manifest import Manifest
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.build.shards.shard import Shard
from indexer.errors import UserError
from indexer.index.index import ROWS_PER_BATCH, Index
from indexer.retrieval.retriever import Retriever
from trainer.models.base import publish_base
from trainer.models.settings import BaseSettings


def make(corpus: Path, data: Path, **settings: Any) -> Manifest:
    """Build an index that does not exist yet and return its manifest."""
    result = build(str(corpus), BuildSettings.model_validate({"language": "en"} | settings), data, cores=2)
    assert result.fresh
    assert Store("index", data).current_id() == result.manifest.id
    return result.manifest


def open_index(data: Path, manifest: Manifest | None = None) -> Index:
    """Open an index, by default the live one."""
    return Index.open(Store("index", data).resolve(manifest and manifest.id), cores=2)


def search_ids(data: Path, query: str, mode: str = "lexical") -> list[str]:
    """Return the ids that a search in the live index returns."""
    retriever = Retriever(open_index(data))
    return [hit.document.id for hit in retriever.page(retriever.search(query, mode), 0, 100)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as Parquet or JSON lines."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def story_rows(**changed: str) -> list[dict[str, Any]]:
    """Return the six stories as rows; ``changed`` has other texts for some."""
    return [{"id": key, "title": title, "text": changed.get(key, text)} for key, title, text in STORIES]


# --- what an index holds --------------------------------------------------------------------------------------------


def test_an_index_holds_its_documents(data: Path, corpus: Path) -> None:
    """Documents come back by row and by id as they were given, and a manifest says what was done."""
    manifest = make(corpus, data)
    index = open_index(data)
    assert [index.document(row).id for row in range(6)] == [key for key, _, _ in STORIES]
    assert [index.document(row).text for row in range(6)] == [text for _, _, text in STORIES]
    assert [index.row_of(key) for key, _, _ in STORIES] == list(range(6))
    assert [index.row_of(key) for key in ("", "A", "aa", "zz", "0")] == [None] * 5
    assert index.metadata_types == {"price": "double", "rooms": "int64", "tags": "list<element: string>"}
    assert manifest.parents == {"model": Store("model", data).current_id()}
    assert manifest.counts["rows"] == manifest.counts["documents"] == 6
    assert manifest.counts["passages"] == manifest.counts["embedded"] >= 6
    assert manifest.counts["rejected"] == manifest.counts["reused"] == 0
    assert manifest.metrics["self_retrieval"] == 1
    assert manifest.notes[0] == "ids: column 'id'"
    assert manifest.inputs[0].name.endswith("corpus.parquet")
    assert {name.partition("/")[0] for name in manifest.files} == {
        "documents", "ids.arrow", "keys.b16", "keys.i32", "lexical", "passages.arrow", "vectors.faiss",
        "weights_sample.npy",
    }  # fmt: skip
    assert not list(Store("index", data).root.glob(".building-*"))


def test_more_documents_than_fit_into_a_batch(data: Path, tmp_path: Path) -> None:
    """Over several batches, a row leads to its document and an id to its row, whatever characters ids have."""
    rng = random.Random(1)
    names = [
        f"{rng.choice(['a', 'Z', 'é', '東', '🙂', '￿', ' ', '-'])}{number}" for number in range(2 * ROWS_PER_BATCH + 77)
    ]
    rows = [{"id": name, "text": " ".join(rng.choices(WORDS, k=5)), "number": at} for at, name in enumerate(names)]
    manifest = make(write(tmp_path / "corpus.parquet", rows), data)
    index = open_index(data)
    assert manifest.counts["passages"] == len(index) == len(names)
    for row in (0, 1, ROWS_PER_BATCH - 1, ROWS_PER_BATCH, 2 * ROWS_PER_BATCH, len(names) - 1):
        assert index.document(row).id == names[row]
        assert index.document(row).metadata == {"number": row}
    assert [index.row_of(name) for name in names[::17]] == list(range(0, len(names), 17))
    assert [names[row] for row in np.argsort(index.id_rank)] == sorted(names, key=str.encode)
    texts = [rows[row]["text"] for row in range(0, len(names), 97)]
    cosines = index.encoder.encode_documents(texts) @ index.dense.vectors(np.arange(0, len(names), 97)).T
    assert np.diag(cosines).min() > 0.9999  # each passage has the vector of its own text


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_formats_give_the_same_index(data: Path, tmp_path: Path, suffix: str) -> None:
    """Search results do not depend on the format of the corpus."""
    make(write(tmp_path / f"corpus{suffix}", story_rows()), data)
    assert search_ids(data, "queen") == ["d"]
    assert search_ids(data, "garden", "hybrid")[:2] in (["a", "f"], ["f", "a"])


def test_long_documents_are_split(data: Path, tmp_path: Path) -> None:
    """A long document gets a vector for each passage: its end is found too. With `one` it gets one vector."""
    start, end = "The cat sits in the garden. " * 10, "The queen drinks wine in the castle."
    corpus = write(
        tmp_path / "corpus.parquet", [{"id": "x", "text": start + end}, {"id": "y", "text": "Snow on the sea."}]
    )
    split = make(corpus, data)
    assert split.counts["passages"] > 4
    retriever = Retriever(open_index(data))
    [hit, _] = retriever.page(retriever.search(end, "dense"), 0, 2)
    assert hit.document.id == "x"
    assert end in hit.passage
    one = make(corpus, data, passages="one")
    assert one.counts["passages"] == 2
    assert open_index(data).passage_offsets(0) == (0, len(start + end))


@pytest.mark.parametrize("overlap", [0, 20])
def test_overlap_is_that_of_the_flag(data: Path, tmp_path: Path, overlap: int) -> None:
    """Passages share no text with an overlap of 0, and some with a larger one."""
    corpus = write(tmp_path / "corpus.parquet", [{"id": "x", "text": "The cat sits. The dog runs. " * 20}])
    manifest = make(corpus, data, overlap_tokens=overlap)
    index = open_index(data)
    spans = [index.passage_offsets(passage) for passage in range(manifest.counts["passages"])]
    assert any(start < before for (_, before), (start, _) in pairwise(spans)) == (overlap > 0)
    assert manifest.config["overlap_tokens"] == overlap


def test_titles_are_searched_by_both_legs(data: Path, corpus: Path) -> None:
    """A title belongs to its document in both legs; with `--title-column none` it belongs to neither and is metadata."""
    make(corpus, data)
    assert search_ids(data, "winter") == ["e"]
    with_titles = open_index(data).dense.vectors(np.arange(3))
    make(corpus, data, title_column="none")
    assert search_ids(data, "winter") == []
    document = open_index(data).document(4)
    assert (document.title, document.metadata["title"]) == (None, "Winter")
    assert not np.allclose(open_index(data).dense.vectors(np.arange(3)), with_titles, atol=1e-3)


def test_other_columns(data: Path, tmp_path: Path) -> None:
    """Id, text and title may have other names."""
    rows = [{"key": number, "name": "Winter", "body": "Snow in the city."} for number in (11, 5)]
    make(write(tmp_path / "c.parquet", rows), data, id_column="key", text_column="body", title_column="name")
    assert search_ids(data, "winter") == ["11", "5"]  # ids in the order of their characters


def test_ids_from_row_numbers_are_noted(data: Path, tmp_path: Path) -> None:
    """Where a corpus has no ids they are made from row numbers, and the manifest says so."""
    rows = [{"text": text} for _, _, text in STORIES]
    manifest = make(write(tmp_path / "corpus.parquet", rows), data)
    assert manifest.notes[0] == "ids: row number"
    assert any("row number" in note and "no column 'id'" in note for note in manifest.notes[1:])
    assert manifest.config["ids"] == "row number"
    assert len(search_ids(data, "queen")) == 1


# --- settings -------------------------------------------------------------------------------------------------------


def test_limit(data: Path, corpus: Path) -> None:
    """With a limit only the first rows are read."""
    manifest = make(corpus, data, limit=3)
    assert (manifest.counts["rows"], manifest.counts["documents"], manifest.config["limit"]) == (3, 3, 3)
    assert set(search_ids(data, "the garden city sea", "dense")) == {"a", "b", "c"}


def test_settings_are_recorded_and_used(data: Path, corpus: Path) -> None:
    """How the legs are fused is stored with the index and is what its searches do."""
    manifest = make(corpus, data, fusion="rrf", dense_weight=0.3, candidates=2)
    assert manifest.config["fusion"] == {"method": "rrf", "dense_weight": 0.3, "by_query": False}
    assert manifest.config["candidates"] == 2
    index = open_index(data)
    fusion = Retriever(index).fusion
    assert (fusion.method, fusion.dense_weight, index.candidates) == ("rrf", 0.3, 2)
    ranking = Retriever(index).search("dog")
    assert len(ranking.rows) <= 4
    assert max(ranking.scores) <= 1 / 61 + 1e-9


def test_settings_are_different_indexes(data: Path, corpus: Path) -> None:
    """Every setting that changes the result gives another fingerprint."""
    prints = {
        make(corpus, data, **settings).fingerprint
        for settings in ({}, {"fusion": "rrf"}, {"dense_weight": 0.3}, {"limit": 5}, {"precision": "int8"})
    }
    assert len(prints) == 5


@pytest.mark.parametrize("language", ["es", "none", "zh", "ja", "ar"])
def test_language_is_recorded_and_used(data: Path, tmp_path: Path, language: str) -> None:
    """An index can be built for any language that is offered, with a stemmer or without, and finds words in it."""
    texts = {
        "es": ("Los gatos duermen en las casas", "casa"),
        "none": ("Zwei Katzen schlafen", "katzen"),
        "zh": ("我们喜欢自然语言处理", "语言"),
        "ja": ("東京で猫が寝ています", "東京"),
        "ar": ("القطة تنام في الحديقة", "الحديقة"),
    }
    text, query = texts[language]
    rows = [{"id": "x", "text": text}, {"id": "y", "text": "dog"}]
    manifest = make(write(tmp_path / "corpus.jsonl", rows), data, language=language)
    assert manifest.config["language"] == language
    assert search_ids(data, query) == ["x"]


def test_few_huge_documents_show_progress(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within documents of many passages the passages that are done are shown: else nothing moves for minutes."""
    monkeypatch.setattr("indexer.progress.LOG_EVERY_SECONDS", -1.0)
    monkeypatch.setattr("indexer.build.shards.shard.WINDOW", 4)
    text = " ".join(f"{text} {number}." for number in range(4) for _, _, text in STORIES)
    manifest = make(write(tmp_path / "a.jsonl", [{"id": key, "text": text} for key in "ab"]), data)
    lines = re.findall(r"^embed: .*passages/s.*MB/s.*", capsys.readouterr().err, re.MULTILINE)
    assert len(lines) == -(-manifest.counts["passages"] // 4) + 1 > 3
    assert re.search(r"^embed: 0 documents, .* [\d,.]+ passages/s", lines[0])
    assert re.search(r"^embed: 1 of 2 documents \(50%\), .* left$", lines[-3])


def test_language_is_detected(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the flag the language is detected, printed and recorded."""
    texts = ["Los gatos duermen en las casas del pueblo.", "¿Cómo puedo quitar los duplicados de una lista?"]
    rows = [{"id": str(at), "text": text} for at, text in enumerate(texts)]
    manifest = make(write(tmp_path / "corpus.jsonl", rows), data, language="auto")
    assert manifest.config["language"] == "es"
    assert "language: es" in capsys.readouterr().err
    assert search_ids(data, "gato") == ["0"]


def test_a_corpus_in_a_language_without_stemmer(data: Path, tmp_path: Path) -> None:
    """A corpus whose language has no stemmer is indexed by its words without stemming."""
    rows = [{"id": "x", "text": "Jak odstranić duplikaty z listy, zachowując kolejność elementów?"}]
    manifest = make(write(tmp_path / "corpus.jsonl", rows), data, language="auto")
    assert manifest.config["language"] == "none"
    assert search_ids(data, "duplikaty") == ["x"]


def test_int8_is_recorded_and_used(data: Path, corpus: Path) -> None:
    """With 8-bit weights documents and queries are encoded with these, and no 32-bit vector is reused."""
    make(corpus, data)
    manifest = make(corpus, data, precision="int8")
    assert manifest.config["precision"] == "int8"
    assert manifest.counts["reused"] == 0
    assert open_index(data).encoder.precision == "int8"
    assert manifest.metrics["self_retrieval"] == 1


# --- refused --------------------------------------------------------------------------------------------------------


def assert_refused(corpus: Path | str, data: Path, match: str, **settings: Any) -> None:
    """Assert that a build is refused in one line and that what was live still is."""
    store = Store("index", data)
    before = (store.ids(), store.current_id())
    with pytest.raises(UserError, match=match) as error:
        build(str(corpus), BuildSettings.model_validate({"language": "en"} | settings), data, cores=1)
    assert "\n" not in str(error.value)
    assert (store.ids(), store.current_id()) == before


BAD_ROWS = [
    {"id": "a", "text": "The cat sits."},
    {"id": "b", "text": "  "},
    {"id": "a", "text": "The dog runs."},
    {"id": "c", "text": "Snow."},
]


@pytest.mark.parametrize("live", [False, True])
def test_bad_rows_are_refused(data: Path, corpus: Path, tmp_path: Path, live: bool) -> None:
    """A corpus with bad rows is refused with their numbers before any work; nothing is published."""
    if live:
        make(corpus, data)
    assert_refused(
        write(tmp_path / "bad.jsonl", BAD_ROWS), data, r"row 2.*empty text.*row 3.*duplicate id.*--skip-bad-rows"
    )


def test_bad_rows_can_be_left_out(data: Path, tmp_path: Path) -> None:
    """With --skip-bad-rows the others are indexed, and the artifact itself lists what was left out and why."""
    manifest = make(write(tmp_path / "bad.jsonl", BAD_ROWS), data, skip_bad_rows=True)
    assert (manifest.counts["rows"], manifest.counts["documents"], manifest.counts["rejected"]) == (4, 2, 2)
    assert "rejects.jsonl" in manifest.files
    lines = (Store("index", data).path(manifest.id) / "rejects.jsonl").read_text().splitlines()
    rejects = [json.loads(line) for line in lines]
    assert [(reject["row"], reject["id"]) for reject in rejects] == [(2, "b"), (3, "a")]
    assert rejects[0]["reason"] == "empty text"
    assert "duplicate id" in rejects[1]["reason"]
    assert set(search_ids(data, "cat snow dog")) == {"a", "c"}


def test_no_bad_rows_no_file(data: Path, corpus: Path) -> None:
    """Where no row is bad, --skip-bad-rows leaves no empty list behind."""
    assert "rejects.jsonl" not in make(corpus, data, skip_bad_rows=True).files


def test_without_a_model(tmp_path: Path, corpus: Path) -> None:
    """Without a model a build says which command publishes one."""
    assert_refused(corpus, tmp_path / "empty", r"there is no model yet; run `python -m trainer base`")


def test_unknown_model_language_and_corpus(data: Path, corpus: Path, tmp_path: Path) -> None:
    """A model, a language or a corpus that does not exist is refused with its name."""
    assert_refused(corpus, data, r"no model 'nonsense'", model="nonsense")
    assert_refused(corpus, data, r"--language xx: not known", language="xx")
    assert_refused(tmp_path / "nothing.parquet", data, "nothing.parquet")


def test_int8_of_a_model_without_it(tmp_path: Path, corpus: Path, tiny_model: Path) -> None:
    """8-bit weights that the model does not have are refused with the command that makes them."""
    publish_base(str(tiny_model), BaseSettings(corpus=str(corpus)), tmp_path / "plain")
    assert_refused(corpus, tmp_path / "plain", r"no int8 weights.*--int8", precision="int8")


def test_an_altered_model_is_refused(data: Path, corpus: Path) -> None:
    """A model whose files were altered builds nothing."""
    model = Store("model", data).resolve()
    path = model / "onnx" / "model.onnx.data"
    path.write_bytes(path.read_bytes()[::-1])
    assert_refused(corpus, data, r"model\.onnx\.data: content differs")


def test_wrong_vectors_are_noticed(data: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors that belong to other passages are noticed before they are published."""
    vectors = Shard.vectors
    monkeypatch.setattr(Shard, "vectors", lambda self: (np.roll(block, 1, axis=0) for block in vectors(self)))
    assert_refused(corpus, data, "does not hold the vectors of its passages")


# --- again ----------------------------------------------------------------------------------------------------------


def test_the_same_again_is_up_to_date(data: Path, corpus: Path, tmp_path: Path) -> None:
    """The same corpus, even under another name, is not built twice."""
    first = make(corpus, data)
    copy = corpus.rename(tmp_path / "renamed.parquet")
    again = build(str(copy), BuildSettings(language="en"), data)
    assert not again.fresh
    assert again.manifest.id == first.id
    assert Store("index", data).ids() == [first.id]


def test_force_builds_again(data: Path, corpus: Path) -> None:
    """With --force an index is built again; its vectors are reused."""
    first = make(corpus, data)
    second = make(corpus, data, force=True)
    assert second.id > first.id
    assert second.fingerprint == first.fingerprint
    assert second.counts["embedded"] == 0
    assert second.counts["reused"] == second.counts["passages"]
    rows = np.arange(6)
    assert np.allclose(
        open_index(data, first).dense.vectors(rows), open_index(data, second).dense.vectors(rows), atol=1e-6
    )


def test_only_changed_passages_are_embedded(data: Path, tmp_path: Path) -> None:
    """After one row has changed, one row is embedded, and every vector is the one of its own text."""
    first = make(write(tmp_path / "1.jsonl", story_rows()), data)
    rows = [{"id": "new", "title": None, "text": "Rain."}, *reversed(story_rows(c="The king eats bread."))]
    second = make(write(tmp_path / "2.jsonl", rows), data)
    assert first.counts["embedded"] == first.counts["passages"]
    assert second.counts["embedded"] == 2
    assert second.counts["reused"] == second.counts["passages"] - 2
    assert second.metrics["self_retrieval"] == 1
    index = open_index(data)
    texts = [f"{row['title'] or ''} {row['text']}".strip() for row in rows]
    whole_documents = [int(index.first_passage[row]) for row in range(7) if np.diff(index.first_passage)[row] == 1]
    expected = index.encoder.encode_documents([texts[index.document_of[passage]] for passage in whole_documents])
    assert len(whole_documents) > 3
    assert np.einsum("ij,ij->i", index.dense.vectors(np.array(whole_documents)), expected).min() > 0.9999


def test_another_model_reuses_nothing(data: Path, corpus: Path, tmp_path: Path) -> None:
    """Vectors of one model never get into the index of another."""
    make(corpus, data)
    other = make_tiny_model(tmp_path / "other", pooling="cls")
    publish_base(str(other), BaseSettings(corpus=str(corpus)), data)
    manifest = make(corpus, data)
    assert manifest.counts["reused"] == 0
    assert manifest.parents == {"model": Store("model", data).current_id()}


def test_an_index_keeps_its_model(data: Path, corpus: Path, tmp_path: Path) -> None:
    """An index opens with the model that it was built with, whichever is live, and can be built with a named one."""
    first = make(corpus, data)
    other = make_tiny_model(tmp_path / "other", dense=8)
    publish_base(str(other), BaseSettings(corpus=str(corpus)), data)
    assert open_index(data, first).encoder.contract.dimension == 32
    assert search_ids(data, "the queen", "dense")
    assert not build(str(corpus), BuildSettings(language="en", model=first.parents["model"]), data).fresh
    assert make(corpus, data).encoder.dimension == 8


def test_an_altered_live_index_gives_no_vectors(data: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is reused from a live index that was altered: a line says so, and all passages are embedded again."""
    first = make(corpus, data)
    path = Store("index", data).path(first.id) / "vectors.faiss"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    second = make(corpus, data, force=True)
    assert second.counts["reused"] == 0
    assert "nothing is reused" in capsys.readouterr().err
    assert open_index(data).manifest.id == second.id


def test_an_older_corpus_goes_live_again(data: Path, tmp_path: Path) -> None:
    """An earlier corpus that is built again goes live without a new build."""
    old, new = (write(tmp_path / f"{name}.jsonl", story_rows(a=f"The {name}.")) for name in ("cat", "dog"))
    first, second = make(old, data), make(new, data)
    store = Store("index", data)
    assert store.current_id() == second.id
    again = build(str(old), BuildSettings(language="en"), data)
    assert (again.fresh, again.manifest.id) == (False, first.id)
    assert store.current_id() == first.id


def test_a_rollback_stays(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a rollback the repeated build of the newer corpus leaves the older one live, and says how to go forward."""
    old, new = (write(tmp_path / f"{name}.jsonl", story_rows(a=f"The {name}.")) for name in ("cat", "dog"))
    first, second = make(old, data), make(new, data)
    store = Store("index", data)
    store.activate(first.id)
    capsys.readouterr()
    again = build(str(new), BuildSettings(language="en"), data)
    assert (again.fresh, again.manifest.id) == (False, second.id)
    assert store.current_id() == first.id
    message = capsys.readouterr().err
    assert first.id in message
    assert f"python -m indexer activate {second.id}" in message


def test_copies_in_different_windows_are_ties(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of a text have the same vector wherever they are in the corpus: their order is that of the ids."""
    monkeypatch.setattr("indexer.build.shards.shard.WINDOW", 3)
    rng = random.Random(2)
    rows = [{"id": f"x{at:02}", "text": " ".join(rng.choices(WORDS, k=rng.randint(2, 25)))} for at in range(40)]
    for at, name in ((3, "z"), (11, "y"), (20, "b"), (31, "a"), (39, "c")):
        rows[at] = {"id": name, "text": "The king and the queen eat cheese with wine in the castle."}
    make(write(tmp_path / "corpus.jsonl", rows), data)
    for mode in ("dense", "hybrid", "lexical"):
        assert search_ids(data, "The king and the queen eat cheese", mode)[:5] == ["a", "b", "c", "y", "z"]


def test_two_corpora_of_one_name(data: Path, tmp_path: Path) -> None:
    """A corpus that changed under the same name is another index."""
    first = make(write_corpus(tmp_path / "corpus.parquet"), data)
    second = make(write(tmp_path / "corpus.parquet", story_rows(a="The horse.")), data)
    assert first.fingerprint != second.fingerprint
    assert first.inputs[0].name == second.inputs[0].name
