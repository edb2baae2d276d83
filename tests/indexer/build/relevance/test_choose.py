"""Calibration of an index: made when it is built, taken over where nearly nothing has changed, absent where it means nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shop import build_shop, shop_rows
from tales import write_named_tales, write_tales

from indexer.artifacts.manifest import Manifest, read_manifest, write_manifest
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.relevance.choose import MIN_DOCUMENTS, SAMPLE
from indexer.build.relevance.observe import observe
from indexer.build.relevance.questions import (
    MIN_WORD,
    Query,
    general_queries,
    key_words,
    make_queries,
    searched_text,
)
from indexer.build.settings import BuildSettings
from indexer.index.index import Index
from indexer.live.log import WriteLog
from indexer.live.prepare import NewDocument, Preparer, apply_writes
from indexer.retrieval.relevance import Calibration
from indexer.retrieval.retriever import Retriever

COUNT = 120


def make(data: Path, corpus: Path, **settings: object) -> Manifest:
    """Build an index."""
    return build(str(corpus), BuildSettings.model_validate({"language": "en", **settings}), data, cores=1).manifest


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[Path, Path, Manifest]:
    """A data directory, a corpus of tales, and its index. Copy the directory, do not change it."""
    folder = tmp_path_factory.mktemp("relevance")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    corpus = write_named_tales(folder / "tales.parquet", COUNT)
    return data, corpus, make(data, corpus)


@pytest.fixture
def own(built: tuple[Path, Path, Manifest], tmp_path: Path) -> Path:
    """A copy of that data directory."""
    return Path(shutil.copytree(built[0], tmp_path / "data"))


@pytest.fixture
def index(built: tuple[Path, Path, Manifest]) -> Index:
    """The index of the tales."""
    return Index.open(Store("index", built[0]).path(built[2].id), cores=1)


def with_changes(corpus: Path, path: Path, count: int) -> Path:
    """Write a copy of a corpus in which ``count`` texts have other words."""
    table = pq.read_table(corpus)
    texts = [f"Changed. {text}" if row < count else text for row, text in enumerate(table["text"].to_pylist())]
    pq.write_table(pa.table({"id": table["id"], "text": texts}), path)
    return path


def test_an_index_is_calibrated(built: tuple[Path, Path, Manifest], index: Index) -> None:
    """The manifest has coefficients for every mode, and a search by them tells a document's words from other ones."""
    calibration = Calibration.of_config(built[2].config)
    assert calibration is not None
    assert calibration.fitted_on == "questions"
    assert set(calibration.modes) == {"hybrid", "dense", "lexical"}
    assert (index.folder / SAMPLE).is_file()
    retriever = Retriever(index)
    for mode in ("hybrid", "lexical"):
        own = retriever.search(" ".join(index.document(5).text.split()[:6]), mode)
        foreign = retriever.search("weather tomorrow king", mode)
        for ranking in (own, foreign):
            retriever.judge(ranking, mode)
        assert own.relevance[0] > 2 * foreign.relevance[0]


def test_one_word_of_a_catalogue_is_answered(tmp_path: Path, tiny_data: Path) -> None:
    """Texts that resemble each other answer alike: brands, tags and kinds of products are relevant, and other words are not."""
    rows = shop_rows(400)
    data = build_shop(tmp_path / "data", tiny_data, rows)
    retriever = Retriever(Index.open(Store("index", data).resolve(), cores=1))

    def first(query: str) -> float:
        ranking = retriever.search(query, expanded=retriever.expand(query, typos=True))
        retriever.judge(ranking)
        return float(ranking.relevance[0])

    for row in rows[::40]:
        asked = [str(row["brand"]), str(row["tags"][0]), str(row["text"]).split(" that ")[0]]  # type: ignore[index]
        assert min(map(first, filter(None, asked))) > 0.25
    assert max(map(first, ("qwxz", "qwxz vlkprt", "zzzyx of the qqqq"))) < 0.05


def test_few_documents_are_not_calibrated(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An index of few documents has no calibration; the build says so, and why."""
    manifest = make(data, write_tales(tmp_path / "few.parquet", MIN_DOCUMENTS - 1))
    assert manifest.config["relevance"] is None
    assert not (Store("index", data).path(manifest.id) / SAMPLE).exists()
    assert "relevance: none, as 99 documents are too few" in capsys.readouterr().err


def test_a_build_after_few_changes_keeps_it(
    built: tuple[Path, Path, Manifest], own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With 1 % of the rows changed the calibration stays, also in the build after that, and names where it is from."""
    _, corpus, first = built
    second = make(own, with_changes(corpus, tmp_path / "one.parquet", 1))
    assert "relevance: as calibrated for" in capsys.readouterr().err
    assert second.config["relevance"] == first.config["relevance"]
    assert second.config["relevance_of"] == first.id
    third = make(own, with_changes(corpus, tmp_path / "three.parquet", 3))
    assert third.config["relevance_of"] == first.id


@pytest.mark.parametrize(("changes", "settings"), [(20, {}), (1, {"force": True}), (1, {"overlap_tokens": 3})])
def test_a_build_after_many_changes_calibrates_anew(
    built: tuple[Path, Path, Manifest], own: Path, tmp_path: Path, changes: int, settings: dict[str, object]
) -> None:
    """With many changed rows, another setting or --force the calibration is made anew."""
    manifest = make(own, with_changes(built[1], tmp_path / "many.parquet", changes), **settings)
    assert "relevance_of" not in manifest.config
    assert Calibration.of_config(manifest.config) is not None


def test_labels_of_the_model_come_first(own: Path, built: tuple[Path, Path, Manifest]) -> None:
    """An index takes the calibration that its model was tuned with, and says whose it is."""
    folder = Store("model", own).resolve()
    labelled = Calibration.of_config(built[2].config).model_copy(update={"fitted_on": "labels"})
    manifest = read_manifest(folder)
    config = manifest.config | {"relevance": labelled.model_dump(mode="json")}
    write_manifest(folder, manifest.model_copy(update={"config": config}))
    made = make(own, built[1], force=True)
    assert Calibration.of_config(made.config) == labelled
    assert made.config["relevance_of"] == folder.name


def test_queries_have_their_answers(index: Index) -> None:
    """A query of key words or of half a sentence names its document; a neighbour question never the one that it is from."""
    queries = make_queries(index, 0)
    answered = [query for query in queries if query.answers]
    assert len(answered) > 250
    assert {query.text for query in queries if not query.answers} >= set(general_queries())
    for query in answered:
        if query.left_out is not None:
            assert query.left_out not in query.answers
        else:
            (row,) = query.answers
            words = index.document(row).text.lower()
            assert all(word.strip(".").lower() in words for word in query.text.split())
    assert make_queries(index, 0) == queries


def test_copies_answer_what_their_original_does(index: Index) -> None:
    """Documents with all words of a query made from one document answer it, too; those with some of them do not."""
    text = " ".join(index.document(0).text.rstrip(".").split()[-2:])  # its beginning is names, which no other has
    seen: set[bool] = set()
    for query in (Query(text, frozenset([0]), by_words=True), Query(text, frozenset([0]))):
        for mode, (observation,) in observe(Retriever(index), [query]).items():
            rows = Retriever(index).search(query.text, mode, exact=False).rows[: len(observation.right)].tolist()
            asked = set(index.lexical.terms(query.text))
            has_all = [asked <= set(index.lexical.terms(searched_text(index, row))) for row in rows]
            assert sum(has_all) > 1
            seen.update(has_all)
            assert observation.right.tolist() == [
                row == 0 or (query.by_words and has) for row, has in zip(rows, has_all, strict=True)
            ]
    assert seen == {True, False}


def test_key_words_are_rare(index: Index) -> None:
    """Key words are words of the document that few documents have; the rarest come first."""
    words = key_words(index, 7)
    frequencies = [index.lexical.document_frequency("body", index.lexical.terms(word)[0]) for word in words]
    assert frequencies == sorted(frequencies)
    assert max(frequencies) <= 0.1 * len(index)
    assert min(map(len, words)) >= MIN_WORD


def test_the_fixed_queries_are_many_and_different() -> None:
    """The list that ships has two hundred queries, each once, none blank, in several scripts."""
    queries = general_queries()
    assert len(queries) >= 200
    assert len(set(queries)) == len(queries)
    assert all(query.strip() == query != "" for query in queries)
    assert sum(not query.isascii() for query in queries) >= 15


def test_live_documents_and_compaction(own: Path, built: tuple[Path, Path, Manifest]) -> None:
    """A copy of a document that is put while the index is served has the document's relevance; compaction keeps all of it."""
    base = Index.open(Store("index", own).resolve(), cores=1)
    text = base.document(5).text
    preparer, log = Preparer(base), WriteLog(own)
    with log.locked():
        log.read()
        log.append(log.draft(preparer.recipe, preparer.prepare([NewDocument("copy", None, text, {})]), ()))
    live = Retriever(apply_writes(base, WriteLog(own).read()))
    ranking = live.search(" ".join(text.split()[:6]))
    live.judge(ranking)
    first = [live.index.document(row).id for row in ranking.rows[:2]]
    assert sorted(first) == ["copy", base.document(5).id]
    assert ranking.relevance is not None
    before = Retriever(base).search(" ".join(text.split()[:6]))
    Retriever(base).judge(before)
    assert before.relevance is not None
    assert ranking.relevance[0] == pytest.approx(before.relevance[0], abs=0.01)
    manifest = compact(own, cores=1).manifest
    assert manifest.config["relevance"] == built[2].config["relevance"]
    assert (Store("index", own).path(manifest.id) / SAMPLE).is_file()
