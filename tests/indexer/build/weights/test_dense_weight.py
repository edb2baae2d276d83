"""Dense weight of hybrid search: estimated without labels, taken from the model, or as set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tales import write_tales

import indexer.build.build
import indexer.build.weights.choose
import indexer.build.weights.dense_weight
from indexer.artifacts.manifest import Manifest, write_manifest
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.build.weights.dense_weight import (
    BOUNDS,
    EQUAL_WEIGHT,
    EXPONENT,
    MIN_QUERIES,
    TIE_RATIO,
    balance,
    estimate_dense_weight,
    sum_ndcg,
)
from indexer.build.weights.inverse_cloze import Cloze, make_clozes
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever

# --- the balance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dense", "lexical"), [(0, 0), (100, 100), (100, 90), (90, 100), (0.5, 0)])
def test_close_legs_count_the_same(dense: float, lexical: float) -> None:
    """Legs with almost equal results have equal weights, and so do legs without results."""
    assert balance(dense, lexical) == EQUAL_WEIGHT


@pytest.mark.parametrize(("one", "other"), [(100, 80), (100, 70), (3, 0), (150, 110), (3, 8)])
def test_both_legs_are_treated_alike(one: float, other: float) -> None:
    """With the successes exchanged, the weights are exchanged."""
    assert balance(one, other) + balance(other, one) == pytest.approx(1)
    assert balance(one, other) != EQUAL_WEIGHT


def test_the_weaker_leg_gets_less() -> None:
    """The weight rises with the success of the dense leg and never falls."""
    weights = [balance(dense, 100) for dense in range(0, 301, 10)]
    assert weights == sorted(weights)
    assert len(set(weights)) >= 12
    assert balance(80, 100) < EQUAL_WEIGHT < balance(100, 80)


def test_neither_leg_is_switched_off() -> None:
    """However bad a leg is, it keeps a twentieth (dense) or a fifth (lexical) of the weight."""
    assert balance(0, 1e6) == BOUNDS[0] == 0.05
    assert balance(1e6, 0) == BOUNDS[1] == 0.8


def test_few_successes_prove_little() -> None:
    """The same ratio of successes moves the weight more where there are more successes."""
    weights = [balance(size * 0.6, size) for size in (1, 10, 100, 10_000)]
    assert weights[0] == EQUAL_WEIGHT
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == pytest.approx(EQUAL_WEIGHT * (0.6 / TIE_RATIO) ** EXPONENT, abs=0.01)


def test_a_weight_has_two_digits() -> None:
    """The weight is rounded: further digits are not significant."""
    assert all(balance(dense, 50.0) == round(balance(dense, 50.0), 2) for dense in range(100))


# --- measured on an index -------------------------------------------------------------------------------------------


def make(data: Path, corpus: Path, **settings: object) -> Manifest:
    """Build an index."""
    return build(str(corpus), BuildSettings.model_validate({"language": "en", **settings}), data, cores=1).manifest


@pytest.fixture(scope="module")
def tales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 60 tales, each long enough for a sentence to be taken out."""
    return write_tales(tmp_path_factory.mktemp("tales") / "tales.parquet", 60)


@pytest.fixture(scope="module")
def tales_index(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, tales: Path) -> tuple[Path, Manifest]:
    """A data directory with an index of the tales as it is built by default."""
    data = Path(shutil.copytree(tiny_data, tmp_path_factory.mktemp("weight") / "data"))
    return data, make(data, tales)


@pytest.fixture
def retriever(tales_index: tuple[Path, Manifest]) -> Retriever:
    """A retriever over the tales."""
    data, manifest = tales_index
    return Retriever(Index.open(Store("index", data).path(manifest.id), cores=1))


def take_clozes(retriever: Retriever) -> list[Cloze]:
    """Take sentences out of the tales; the index still has them: the lexical leg finds every one."""
    return make_clozes([retriever.index.document(row).text for row in range(len(retriever.index))], 60, 0)


def test_sum_is_ndcg(retriever: Retriever) -> None:
    """A document that comes first counts 1, a second one 0.63, and one after rank 10 nothing."""
    query = "the king and the queen"
    rows = retriever.search(query, "dense").rows.tolist()
    gains = {0: 1.0, 1: 0.6309297535714575, 2: 0.5, 9: 0.2890648263178879, 10: 0.0, 59: 0.0}
    for position, gain in gains.items():
        assert sum_ndcg(retriever, [Cloze(rows[position], query, "")], "dense") == pytest.approx(gain)
    both = [Cloze(rows[position], query, "") for position in (1, 2)]
    assert sum_ndcg(retriever, both, "dense") == pytest.approx(gains[1] + gains[2])
    clozes = take_clozes(retriever)
    assert sum_ndcg(retriever, clozes, "lexical") > sum_ndcg(retriever, clozes, "dense") > 0


@pytest.fixture
def small_tie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a small difference count: even a model of random weights finds most of these sentences."""
    monkeypatch.setattr(indexer.build.weights.dense_weight, "TIE_RATIO", 0.97)


@pytest.mark.usefixtures("small_tie")
def test_the_weight_of_an_index(retriever: Retriever) -> None:
    """The weight balances the results of both legs: here the lexical leg beats a model of random weights."""
    clozes = take_clozes(retriever)
    expected = balance(sum_ndcg(retriever, clozes, "dense"), sum_ndcg(retriever, clozes, "lexical"))
    assert estimate_dense_weight(retriever, clozes) == expected < EQUAL_WEIGHT


@pytest.mark.usefixtures("small_tie")
def test_few_queries_decide_nothing(retriever: Retriever) -> None:
    """With fewer than forty queries the legs have equal weights, whatever they find."""
    clozes = take_clozes(retriever)
    assert estimate_dense_weight(retriever, clozes[: MIN_QUERIES - 1]) == EQUAL_WEIGHT
    assert estimate_dense_weight(retriever, clozes[:MIN_QUERIES]) < EQUAL_WEIGHT


# --- recorded by a build --------------------------------------------------------------------------------------------


def test_a_build_records_what_it_found(
    tales_index: tuple[Path, Manifest], tales: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --dense-weight the estimated weight is recorded, printed, and used by the opened index."""
    data, manifest = tales_index
    weight = manifest.config["fusion"]["dense_weight"]
    assert weight < EQUAL_WEIGHT
    assert Retriever(Index.open(Store("index", data).path(manifest.id), cores=1)).fusion.dense_weight == weight
    seen: list[tuple[Retriever, list[Cloze]]] = []
    monkeypatch.setattr(
        indexer.build.weights.choose,
        "estimate_dense_weight",
        lambda retriever, clozes: seen.append((retriever, clozes)) or 0.37,
    )
    again = make(data, tales, force=True)
    assert again.config["fusion"] == {"method": "convex", "dense_weight": 0.37, "by_query": True}
    assert "dense weight: 0.37 (--dense-weight sets another)" in capsys.readouterr().err
    [(retriever, clozes)] = seen
    assert len(clozes) == 60
    for cloze in clozes:  # no query is in the searched texts
        assert retriever.index.document(cloze.row).text == cloze.rest
        assert cloze.sentence not in cloze.rest
    assert not list(Store("index", data).root.glob(".building-*"))


def test_titles_are_searched_too(
    tales_index: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documents on which the legs are compared have their titles, as in the index."""
    table = pq.read_table(write_tales(tmp_path / "tales.parquet", 50, seed=3))
    titles = [f"The moon {number}" for number in range(50)]
    pq.write_table(table.append_column("title", pa.array(titles)), tmp_path / "titled.parquet")
    seen: list[Retriever] = []
    monkeypatch.setattr(
        indexer.build.weights.choose, "estimate_dense_weight", lambda retriever, _: seen.append(retriever) or 0.5
    )
    make(tales_index[0], tmp_path / "titled.parquet")
    assert [seen[0].index.document(row).title for row in range(50)] == titles


def test_too_few_documents(data: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus that gives fewer than forty sentences has equal weights; nothing is compared."""
    monkeypatch.setattr(indexer.build.weights.choose, "estimate_dense_weight", None)
    assert make(data, corpus).config["fusion"]["dense_weight"] == EQUAL_WEIGHT


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_weight_that_was_set(
    weight: float, tales_index: tuple[Path, Manifest], tales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--dense-weight stays as it was set, 0 too, and nothing is measured."""
    monkeypatch.setattr(indexer.build.weights.choose, "estimate_dense_weight", None)
    assert make(tales_index[0], tales, dense_weight=weight).config["fusion"]["dense_weight"] == weight


def test_ranks_need_no_weight(tales_index: tuple[Path, Manifest], tales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The balance is that of scores: fusion by rank keeps equal weights."""
    monkeypatch.setattr(indexer.build.weights.choose, "estimate_dense_weight", None)
    assert make(tales_index[0], tales, fusion="rrf").config["fusion"] == {
        "method": "rrf",
        "dense_weight": EQUAL_WEIGHT,
        "by_query": False,
    }


def test_a_model_that_knows_its_weight(data: Path, tales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight that labels chose when the model was tuned is taken over; --dense-weight still overrides it."""
    store = Store("model", data)
    folder = store.resolve()
    manifest = store.manifest(folder.name)
    write_manifest(folder, manifest.model_copy(update={"config": manifest.config | {"dense_weight": 0.64}}))
    monkeypatch.setattr(indexer.build.weights.choose, "estimate_dense_weight", None)
    assert make(data, tales).config["fusion"]["dense_weight"] == 0.64
    assert make(data, tales, dense_weight=0.0).config["fusion"]["dense_weight"] == 0.0


def test_an_estimate_is_kept_while_its_sample_is_nearly_the_same(
    data: Path, tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few changed documents keep the weight; many small changes, another setting or --force lead to a new estimate."""
    estimates = iter((0.31, 0.32, 0.33, 0.34, 0.35))
    monkeypatch.setattr(indexer.build.weights.choose, "estimate_dense_weight", lambda *_: next(estimates))
    table = pq.read_table(tales)

    def change(count: int, **settings: object) -> tuple[float, str | None]:
        texts = [f"Changed. {text}" if row < count else text for row, text in enumerate(table["text"].to_pylist())]
        path = tmp_path / f"{count}.parquet"
        pq.write_table(table.set_column(table.schema.get_field_index("text"), "text", pa.array(texts)), path)
        manifest = make(data, path, **settings)
        return manifest.config["fusion"]["dense_weight"], manifest.config.get("weights_of")

    first = make(data, tales)
    assert (first.config["fusion"]["dense_weight"], first.config.get("weights_of")) == (0.31, None)
    assert len(table) == 60
    assert change(2) == (0.31, first.id)
    assert f"as estimated for {first.id}: 96.7% of its sample is the same" in capsys.readouterr().err
    assert change(3) == (0.31, first.id)
    assert change(4) == (0.32, None)  # two more than the last index, four more than the estimate
    assert change(5) == (0.32, Store("index", data).ids()[-2])
    assert change(5, passages="one") == (0.33, None)
    assert change(5, force=True) == (0.34, None)
    assert change(6, dense_weight=0.5) == (0.5, None)
    assert change(7) == (0.35, None)  # a weight that was set is no estimate
