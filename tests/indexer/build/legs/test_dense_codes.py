"""Builds with a forced kind of dense index: what is measured and recorded, filters, live writes, compaction, kills."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stories import WORDS

import indexer.build.assemble
import indexer.build.legs.dense_codes
from indexer.artifacts.manifest import Manifest, read_manifest, write_manifest
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.legs import recall
from indexer.build.legs.dense_codes import declared_components
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.approximate import kinds
from indexer.index.approximate import leg as approximate
from indexer.index.approximate.codes import FILE
from indexer.index.approximate.leg import ApproximateDense
from indexer.index.dense import DenseIndex
from indexer.index.index import Index
from indexer.live.feedback import FeedbackLog
from indexer.live.log import WriteLog
from indexer.live.overlay import LiveIndex
from indexer.live.prepare import NewDocument, Preparer, apply_writes
from indexer.retrieval.ranking import Mode
from indexer.retrieval.retriever import Retriever

DOCUMENTS = 1_200
CODED = [kind for kind in kinds.KINDS if kind != "flat"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus of short texts, each with a number from 0 to 9."""
    rng = random.Random(1)
    rows = [
        {"id": f"d{row}", "text": " ".join(rng.choices(WORDS, k=12)) + ".", "number": row % 10}
        for row in range(DOCUMENTS)
    ]
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def make(corpus: Path, data: Path, **settings: Any) -> Manifest:
    """Build an index that does not exist yet and return its manifest."""
    result = build(str(corpus), BuildSettings.model_validate({"language": "en"} | settings), data, cores=1)
    assert result.fresh
    return result.manifest


def open_index(data: Path) -> Index:
    """Open the live index."""
    return Index.open(Store("index", data).resolve(), cores=1)


def measure(index: Index, mode: Mode = "dense", number: int | None = None) -> float:
    """Return the share of the ten best documents of exact search that are found, also among those of one ``number``."""
    allowed = None
    if number is not None:
        allowed = index.allowed(np.array(index.column("number").to_numpy()) == number)
    retriever, exactly = Retriever(index), Retriever(index.searched_exactly())
    rng, found = random.Random(2), 0
    for _ in range(20):
        query = " ".join(rng.choices(WORDS, k=5))
        rankings = [each.search(query, mode, candidates=50, allowed=allowed) for each in (retriever, exactly)]
        assert len(rankings[0].rows) >= 50
        found += len(np.intersect1d(*[ranking.rows[:10] for ranking in rankings]))
    return found / 200


@pytest.mark.parametrize("kind", CODED)
def test_a_forced_kind(corpus: Path, data: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of each kind finds what was promised, with and without a filter, and its manifest says what was measured."""
    monkeypatch.setattr(approximate, "MAX_EXACT_PASSAGES", 0)
    manifest = make(corpus, data, dense=kind)
    facts = manifest.config["dense_index"]
    assert manifest.config["dense"] == facts["requested"] == kind
    assert FILE in manifest.files
    assert facts["target"] == 0.98 <= facts["recall"]
    assert facts["queries"] == {"sentences": 400, "logged": 0}
    assert facts["bytes_per_passage"] == pytest.approx(manifest.files[FILE].size / DOCUMENTS, abs=0.1)
    assert facts["curve"][-1]["recall"] >= facts["recall"] - 0.001
    assert {"recall", "recall_at_100", "milliseconds"} <= facts["curve"][0].keys()
    index = open_index(data)
    assert isinstance(index.dense, ApproximateDense)
    assert isinstance(index.searched_exactly().dense, DenseIndex)
    assert measure(index) >= 0.95
    assert measure(index, "hybrid") >= 0.95
    assert measure(index, number=3) >= 0.99


def test_the_default_is_exact(corpus: Path, data: Path) -> None:
    """Below the bound an index has no codes and is searched as ever; the manifest says that nobody asked for it."""
    manifest = make(corpus, data)
    assert manifest.config["dense"] == "flat"
    assert manifest.config["dense_index"] == {"requested": "auto", "target": 0.98, "bytes_per_passage": 128}
    assert FILE not in manifest.files
    index = open_index(data)
    assert isinstance(index.dense, DenseIndex)
    assert index.searched_exactly() is index


def test_auto_above_the_bound(corpus: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound the first kind that finds enough is built: codes of one bit, or else of eight."""
    monkeypatch.setattr(kinds, "MAX_FLAT_PASSAGES", DOCUMENTS - 1)
    assert make(corpus, data).config["dense"] == "ivf-1bit"
    monkeypatch.setattr(recall, "EXTRAS", (0,))
    config = make(corpus, data, force=True).config
    assert config["dense"] == "ivf-int8"
    assert config["dense_index"]["requested"] == "auto"


def test_a_higher_recall_takes_more_effort(corpus: Path, data: Path) -> None:
    """The effort of a search follows the recall that is asked for."""
    efforts = []
    for target in (0.3, 0.8, 0.99):
        facts = make(corpus, data, dense="ivf-int8", recall=target).config["dense_index"]
        assert facts["recall"] >= target == facts["target"]
        efforts.append(facts["nprobe"])
    assert efforts == sorted(set(efforts))


def test_too_high_a_recall(
    corpus: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no effort reaches the recall, the best one is taken and said."""
    monkeypatch.setattr(recall, "EXTRAS", (0,))
    facts = make(corpus, data, dense="ivf-1bit", recall=1).config["dense_index"]
    assert facts["recall"] == max(point["recall"] for point in facts["curve"]) < 1
    assert "below --recall 1.0" in capsys.readouterr().err


def test_queries_of_people(corpus: Path, data: Path) -> None:
    """Queries that people have judged measure the recall too, each once."""
    for query in ("the cat", "the dog", "the cat"):
        FeedbackLog(data).append(query, "d1", None, "x.0")
    assert make(corpus, data, dense="ivf-int8").config["dense_index"]["queries"] == {"sentences": 400, "logged": 2}


@pytest.mark.parametrize("kind", CODED)
def test_codes_of_the_first_components(corpus: Path, data: Path, kind: str) -> None:
    """Codes of half the components are smaller; full vectors still score, and what was promised is found."""
    whole = make(corpus, data, dense=kind).config["dense_index"]
    facts = make(corpus, data, dense=kind, dense_components=16).config["dense_index"]
    assert facts["components"] == facts["requested_components"] == 16
    assert "components" not in whole
    assert facts["bytes_per_passage"] < whole["bytes_per_passage"]
    index = open_index(data)
    assert isinstance(index.dense, ApproximateDense)
    assert (index.dense.codes.index.d, index.dense.dimension) == (16, 32)
    assert measure(index) >= facts["recall"] - 0.05
    assert measure(index, number=3) >= 0.95


def test_components_that_a_model_declares(corpus: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a Matryoshka model the shortest length that finds enough is taken; compaction asks for what the build asked for."""
    folder = Store("model", data).resolve()
    manifest = read_manifest(folder)
    write_manifest(folder, manifest.model_copy(update={"config": manifest.config | {"matryoshka": [32, 16, 8, 2]}}))
    assert declared_components(folder, 32) == [8, 16]
    assert make(corpus, data, dense="ivf-int8", recall=0.5).config["dense_index"]["components"] == 8
    monkeypatch.setattr(recall, "EXTRAS", (0,))
    facts = make(corpus, data, dense="ivf-int8", recall=0.97).config["dense_index"]
    assert "components" not in facts
    assert facts["recall"] >= 0.97


def test_more_components_than_there_are(corpus: Path, data: Path) -> None:
    """The refusal comes before the work, and says how many there are."""
    with pytest.raises(UserError, match=r"--dense-components 33: the vectors of .* have 32"):
        make(corpus, data, dense_components=33)


def test_vectors_are_reused(corpus: Path, data: Path) -> None:
    """Another kind of the same corpus encodes nothing, and has the same full vectors."""
    make(corpus, data)
    first = open_index(data)
    assert make(corpus, data, dense="ivf-1bit").counts["embedded"] == 0
    rows = np.arange(DOCUMENTS)
    assert np.allclose(open_index(data).dense.vectors(rows), first.dense.vectors(rows), atol=1e-6)


def test_live_writes_and_compaction(corpus: Path, data: Path) -> None:
    """Writes over an index of codes are found, deleted documents are not, and compaction keeps the kind."""
    make(corpus, data, dense="ivf-1bit", recall=0.9)
    base = open_index(data)
    target = base.document(5).text
    log = WriteLog(data)
    preparer = Preparer(base)
    documents = [NewDocument("new", None, "the king eats cheese in the castle", {"number": 3})]
    with log.locked():
        log.read()
        log.append(log.draft(preparer.recipe, preparer.prepare(documents), ("d5",)))
    live = apply_writes(base, WriteLog(data).read())
    assert isinstance(live, LiveIndex)

    def first_hit(index: Index, query: str) -> str:
        return index.document(int(Retriever(index).search(query, "dense").rows[0])).id

    assert first_hit(base, target) == "d5"
    for index in (live, Index.open(Store("index", data).path(compact(data, cores=1).manifest.id), cores=1)):
        assert first_hit(index, documents[0].text) == "new"
        assert first_hit(index, target) != "d5"
        everything = Retriever(index).search(target, "dense", candidates=2 * DOCUMENTS)
        assert len(everything.rows) == DOCUMENTS
    config = Store("index", data).manifest(Store("index", data).resolve().name).config
    assert config["dense"] == config["dense_index"]["requested"] == "ivf-1bit"
    assert config["dense_index"]["recall"] >= config["dense_index"]["target"] == 0.9


def test_compaction_of_an_index_of_an_earlier_version(
    corpus: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index without the new field is exact; when it is compacted, its size decides, as for one that is built."""
    folder = Store("index", data).path(make(corpus, data).id)
    manifest = read_manifest(folder)
    config = {name: value for name, value in manifest.config.items() if name != "dense_index"}
    write_manifest(folder, manifest.model_copy(update={"config": config}))
    index = open_index(data)
    assert isinstance(index.dense, DenseIndex)
    monkeypatch.setattr(kinds, "MAX_FLAT_PASSAGES", DOCUMENTS - 1)
    preparer, log = Preparer(index), WriteLog(data)
    with log.locked():
        log.read()
        log.append(log.draft(preparer.recipe, preparer.prepare([NewDocument("n", None, "the sea", {})]), ()))
    assert compact(data, cores=1).manifest.config["dense"] == "ivf-1bit"


def test_a_build_that_dies_while_it_trains(corpus: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors that were encoded before are not encoded again."""

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(indexer.build.legs.dense_codes, "write_codes", die)
        with pytest.raises(KeyboardInterrupt):
            make(corpus, data, dense="ivf-int8")
    manifest = make(corpus, data, dense="ivf-int8")
    assert (manifest.counts["embedded"], manifest.counts["reused"]) == (0, DOCUMENTS)
    assert not list(Store("index", data).path(manifest.id).glob("vectors.f32"))


def changed_corpus(corpus: Path, count: int) -> Path:
    """Return a corpus whose first ``count`` texts are new."""
    rows = pq.read_table(corpus).to_pylist()
    rng = random.Random(count)
    for row in rows[:count]:
        row["text"] = " ".join(rng.choices(WORDS, k=12)) + "!"
    path = corpus.with_name(f"changed-{count}.parquet")
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def centres(data: Path) -> np.ndarray:
    """Return the centres of the lists of the live index."""
    dense = open_index(data).dense
    assert isinstance(dense, ApproximateDense)
    found = dense.codes.centres()
    assert found is not None
    return found


def test_lists_are_kept_while_nearly_all_vectors_are_the_same(corpus: Path, data: Path) -> None:
    """After a few changes the lists are those of the earlier index; changes add up, and then lists are trained anew."""
    assert "changed" not in make(corpus, data, dense="ivf-1bit").config["dense_index"]
    first = centres(data)
    facts = make(changed_corpus(corpus, 72), data, dense="ivf-1bit").config["dense_index"]
    assert facts["changed"] == 0.06
    assert facts["recall"] >= facts["target"]  # measured again
    assert np.array_equal(centres(data), first)
    assert measure(open_index(data)) >= 0.95
    assert "changed" not in make(changed_corpus(corpus, 148), data, dense="ivf-1bit").config["dense_index"]
    assert not np.array_equal(centres(data), first)


def test_lists_that_miss_too_much_are_trained_anew(corpus: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an earlier index's lists do not reach the recall, the index gets its own."""
    make(corpus, data, dense="ivf-1bit")
    first = centres(data)
    monkeypatch.setattr(recall, "EXTRAS", (0,))
    facts = make(changed_corpus(corpus, 12), data, dense="ivf-1bit", recall=1).config["dense_index"]
    assert "changed" not in facts
    assert not np.array_equal(centres(data), first)


def test_the_curve_ends_where_more_effort_finds_no_more() -> None:
    """Once the target is reached, an effort that finds as much as the one before is the last."""

    def points(*recalls: float) -> list[recall.Point]:
        return [recall.Point(1, extra, found, found) for found in recalls for extra in recall.EXTRAS]

    assert recall._levelled_off(points(0.97, 0.985, 0.985), 0.98)
    assert not recall._levelled_off(points(0.97, 0.985), 0.98)
    assert not recall._levelled_off(points(0.9, 0.9), 0.98)
    assert not recall._levelled_off(points(0.99), 0.98)
