"""Shards of a build: where they end, what a kill or damage loses, and what a later index takes over of them."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stories import WORDS

from indexer.artifacts.manifest import Manifest
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.build.shards.shard import number_shards
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.index.terms.words import Words
from indexer.inference.encoder import Encoder
from indexer.inference.passages import PassageMaker
from indexer.retrieval.retriever import Retriever

REPOSITORY = Path(__file__).parents[3]
SETTINGS = BuildSettings(language="en", dense_weight=0.5)
SIZES = {"LEAST_DOCUMENTS": 10, "MEAN_FURTHER": 10, "MOST_DOCUMENTS": 30, "WINDOW": 8}
"""Of shards and windows in these tests."""

SLOW_BUILD = """
import sys, time
from pathlib import Path
import indexer.build.shards.shard, indexer.index.lexical.writer
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.inference.encoder import Encoder

encode, begun = Encoder.encode_documents, []

def encode_documents(self, texts):
    if not begun:
        begun.append(1)
        print("begun", flush=True)
    if len(texts) <= 8:
        time.sleep(0.03)
    return encode(self, texts)

Encoder.encode_documents = encode_documents
vars(indexer.build.shards.shard).update(%r)
indexer.index.lexical.writer.MOST_COMMITTED = 15
build(sys.argv[1], BuildSettings(language="en", dense_weight=0.5), Path(sys.argv[2]), cores=1)
"""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make shards and windows small, so that a few documents fill several."""
    for name, size in SIZES.items():
        monkeypatch.setattr(f"indexer.build.shards.shard.{name}", size)
    monkeypatch.setattr("indexer.index.lexical.writer.MOST_COMMITTED", 15)


def make_rows(count: int = 240) -> list[dict[str, Any]]:
    """Return documents of different lengths, some of which have several passages."""
    rng = random.Random(5)
    rows = [{"id": f"d{at}", "text": " ".join(rng.choices(WORDS, k=rng.randint(3, 60)))} for at in range(count)]
    return [row | {"title": f"Title {at}" if at % 3 else None, "n": at} for at, row in enumerate(rows)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write documents as Parquet."""
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def make(corpus: Path, data: Path, **settings: Any) -> Manifest:
    """Build an index that does not exist yet, and return its manifest."""
    result = build(str(corpus), SETTINGS.model_copy(update=settings), data, cores=1)
    assert result.fresh
    return result.manifest


def contents(data: Path, manifest: Manifest) -> tuple[list[Any], np.ndarray, list[Any]]:
    """Return documents and passages of an index, its vectors, and what searches in it find."""
    index = Index.open(Store("index", data).path(manifest.id), cores=1)
    documents = [index.document(row) for row in range(len(index))]
    assert [index.row_of(document.id) for document in documents] == list(range(len(index)))
    spans = [index.passage_offsets(passage) for passage in range(index.passages)]
    retriever = Retriever(index)
    found = [
        retriever.page(retriever.search(query, mode), 0, 20)
        for query in ("the king in the garden", "snow")
        for mode in ("dense", "lexical", "hybrid")
    ]
    hits = [[(hit.document.id, hit.passage) for hit in hits] for hits in found]
    return [documents, spans, index.document_of.tolist()], index.dense.vectors(np.arange(index.passages)), hits


def assert_same(data: Path, manifest: Manifest, other_data: Path, other: Manifest) -> None:
    """Check that two indexes hold the same, the vectors to the bit."""
    (first, vectors, hits), (second, other_vectors, other_hits) = contents(data, manifest), contents(other_data, other)
    assert first == second
    assert np.array_equal(vectors, other_vectors)
    assert hits == other_hits


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of several shards."""
    return write(tmp_path_factory.mktemp("corpus") / "corpus.parquet", make_rows())


# --- where shards end -----------------------------------------------------------------------------------------------


def shards_of(ids: list[str], rows: int) -> list[list[str]]:
    """Return the ids of each shard; the batches have this many rows."""
    batches = pa.table({"id": ids}).to_batches(max_chunksize=rows)
    shards: list[list[str]] = []
    for number, batch in number_shards(batches):
        if number == len(shards):
            shards.append([])
        shards[number] += batch.column("id").to_pylist()
    return shards


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_shards_hold_all_documents_within_bounds(rows: int) -> None:
    """Shards hold the documents in their order, and end at the same ones however the rows come in."""
    ids = [f"d{at}" for at in range(500)]
    shards = shards_of(ids, rows)
    assert [name for shard in shards for name in shard] == ids
    assert all(10 <= len(shard) <= 30 for shard in shards[:-1])
    assert len({len(shard) for shard in shards}) > 3
    assert shards == shards_of(ids, 64)


def test_rows_that_come_or_go_leave_other_shards() -> None:
    """An insertion and a deletion change the shards around them; those further on are the same again."""
    ids = [f"d{at}" for at in range(500)]
    before = {tuple(shard) for shard in shards_of(ids, 64)}
    after = {tuple(shard) for shard in shards_of(["new", *ids[:250], *ids[251:]], 64)}
    assert len(before - after) <= len(before) / 2


# --- kill -----------------------------------------------------------------------------------------------------------


def test_killed_at_random_moments(data: Path, corpus: Path, tmp_path: Path) -> None:
    """A build that is killed again and again, at whatever moment, ends with the index of an undisturbed one."""
    undisturbed = Path(shutil.copytree(data, tmp_path / "undisturbed"))
    expected = make(corpus, undisturbed)
    rng = random.Random()
    command = [sys.executable, "-c", SLOW_BUILD % SIZES, str(corpus), str(data)]
    store, markers = Store("index", data), 0
    for _ in range(5):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY) as process:
            assert process.stdout
            process.stdout.readline()  # the first window is encoded
            time.sleep(rng.uniform(0.0, 0.7))
            process.kill()
            process.wait()
        if store.ids():  # this one was quicker than the kill
            break
        assert process.returncode == -signal.SIGKILL
        found = len(list(store.root.glob(".building-*/shards/*.json")))
        assert found >= markers
        markers = found
    result = build(str(corpus), SETTINGS, data, cores=1)
    assert markers or not result.fresh
    assert_same(data, result.manifest, undisturbed, expected)
    assert {name.partition("/")[0] for name in result.manifest.files} == {
        name.partition("/")[0] for name in expected.files
    }


staging = Store.staging


class Interrupted(BaseException):
    """Stands for the end of the process."""


def interrupt(corpus: Path, data: Path, monkeypatch: pytest.MonkeyPatch, windows: int) -> Path:
    """Let a build end before it encodes its window of this number; return the folder that it leaves."""
    encode, calls = Encoder.encode_documents, []

    def encode_documents(self: Encoder, texts: list[str], **options: Any) -> np.ndarray:
        calls.append(texts)
        if len(calls) == windows:
            raise Interrupted
        return encode(self, texts, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode_documents", encode_documents)
        with pytest.raises(Interrupted):
            build(str(corpus), SETTINGS, data, cores=1)
    [folder] = Store("index", data).root.glob(".building-*")
    return folder


@pytest.mark.parametrize("file", ["shards/00001.vectors", "shards/00000.passages", "documents/00002.arrow"])
def test_a_damaged_shard_is_made_again(
    data: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """A shard whose files are not those of its marker is made again; the others are kept."""
    undisturbed = Path(shutil.copytree(data, tmp_path / "undisturbed"))
    folder = interrupt(corpus, data, monkeypatch, windows=20)
    complete = len(list((folder / "shards").glob("*.json")))
    assert complete > 3
    path = folder / file
    path.write_bytes(path.read_bytes()[:-40] + b"x" * 40)
    resumed = make(corpus, data)
    assert 0 < resumed.counts["reused"] < resumed.counts["passages"]
    assert_same(data, resumed, undisturbed, make(corpus, undisturbed))


def test_what_another_build_left_is_not_taken(
    data: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards and words that a build of other documents has left in the folder are deleted, not gone on with."""
    other = write(tmp_path / "other.parquet", [row | {"text": f"Snow. {row['text']}"} for row in make_rows(200)])
    monkeypatch.setattr(Store, "staging", lambda self, _: staging(self, "ab" * 32))
    interrupt(corpus, data, monkeypatch, windows=20)
    manifest = make(other, data)
    assert manifest.counts["reused"] == 0
    (documents, *_), _, hits = contents(data, manifest)
    assert len(documents) == 200
    assert len(hits[4]) == 20  # lexical, for «snow», which is in all of them


def test_words_are_not_lost(data: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed build analyses no text again whose words were committed."""
    interrupt(corpus, data, monkeypatch, windows=20)
    analysed: list[str] = []
    prepare = Words.prepare
    monkeypatch.setattr(Words, "prepare", lambda self, text: (analysed.append(text), prepare(self, text))[1])
    make(corpus, data)
    assert 0 < len(analysed) < 220


# --- a later index --------------------------------------------------------------------------------------------------


def inodes(data: Path, manifest: Manifest) -> list[int]:
    """Return the numbers of the files that hold an index's documents."""
    return [path.stat().st_ino for path in sorted((Store("index", data).path(manifest.id) / "documents").iterdir())]


def test_unchanged_shards_are_taken_over(
    data: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few changes the other shards are linked, and neither cut nor encoded again; what was deleted is gone."""
    fresh = Path(shutil.copytree(data, tmp_path / "fresh"))
    first = make(corpus, data)
    rows = make_rows()
    rows[60]["text"] = "The king drinks wine."
    del rows[20]
    changed = write(tmp_path / "changed.parquet", [*rows, {"id": "new", "title": None, "text": "Snow.", "n": 1}])
    cut: Counter[str] = Counter()
    make_passages = PassageMaker.make

    def counting(self: PassageMaker, titles: list[str | None], texts: list[str]) -> Any:
        cut.update(texts)
        return make_passages(self, titles, texts)

    with monkeypatch.context() as patch:
        patch.setattr(PassageMaker, "make", counting)
        second = make(changed, data)
    assert second.counts["embedded"] == 2
    shared = set(inodes(data, first)) & set(inodes(data, second))
    assert len(shared) >= len(inodes(data, first)) - 4 > 2
    assert "The king drinks wine." in cut
    assert len(cut) < 120
    Store("index", data).verify(first.id)
    expected = make(changed, fresh)
    (documents, vectors, hits), (others, other_vectors, other_hits) = (
        contents(data, second), contents(fresh, expected)
    )  # fmt: skip
    assert documents == others
    assert hits == other_hits
    assert np.allclose(vectors, other_vectors, atol=1e-6)
    assert "d20" not in {document.id for document in documents[0]}


def test_passages_of_another_length_are_cut_again(data: Path, corpus: Path) -> None:
    """Shards are linked whatever the settings, but their passages are taken over only where they were cut the same."""
    first, second = make(corpus, data), make(corpus, data, passages="one")
    assert second.counts["passages"] == 240 < first.counts["passages"]
    assert inodes(data, first) == inodes(data, second)


def test_where_files_cannot_be_linked(data: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links the new index has copies."""
    first = make(corpus, data)

    def link(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr("os.link", link)
    second = make(corpus, data, force=True)
    assert second.counts["embedded"] == 0
    assert not set(inodes(data, first)) & set(inodes(data, second))


# --- space ----------------------------------------------------------------------------------------------------------

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as `shutil` has it


def test_a_disk_that_will_not_suffice(data: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too little is free, the build is refused with the numbers and the folder before any text is encoded."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 0, 9_000))
    monkeypatch.setattr(Encoder, "encode_documents", lambda *_: pytest.fail("encoded"))
    with pytest.raises(UserError, match=r"needs some [\d,]+ bytes, and 9,000 are free there") as refused:
        build(str(corpus), SETTINGS, data, cores=1)
    assert str(Store("index", data).root / ".building-") in str(refused.value)
    assert Store("index", data).ids() == []


def test_the_estimate_is_near_what_is_written(data: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build fits where its estimate is free, and the estimate is less than three times the index."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 0, 0))
    with pytest.raises(UserError) as refused:
        build(str(corpus), SETTINGS, data, cores=1)
    [needed] = re.findall(r"some ([\d,]+) bytes", str(refused.value))
    monkeypatch.undo()
    manifest = make(corpus, data)
    written = sum(entry.size for entry in manifest.files.values())
    assert written / 3 < int(needed.replace(",", "")) < written * 3
