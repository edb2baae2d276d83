"""`trainer bridge`: a new model's queries on the vectors of an index, what judges them, and what is published."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tales import write_labelled, write_tales
from tests_support import make_tiny_model, publish_mapped
from typer.testing import CliRunner

from indexer.artifacts.store import Store
from indexer.build.build import build, measure_self_retrieval
from indexer.build.settings import BuildSettings
from indexer.build.share import share_index
from indexer.errors import UserError
from indexer.index.index import DENSE_MAP, Index
from indexer.inference.encoder import Encoder
from indexer.live.prepare import Preparer
from indexer.retrieval.retriever import Retriever
from trainer.adapter.dense_module import with_map
from trainer.cli import app
from trainer.evaluate.significance import Difference
from trainer.pipeline.bases.bridge import bridge as command
from trainer.pipeline.bases.bridge import pairs
from trainer.pipeline.bases.bridge.bridge import Bridged, bridge
from trainer.pipeline.bases.bridge.exam import judge
from trainer.pipeline.results import comparison
from trainer.pipeline.results.comparison import published_candidate
from trainer.pipeline.settings import BridgeSettings

SETTINGS = BridgeSettings(sample=400, budget="5m")
QUERIES = ["the king and the storm at sea", "a cat sleeps", "bread and the moon", "winter rain on the street"]
PROMPTS = {"query": "the quick ", "document": "a "}


@dataclass
class Done:
    """A data directory after `trainer bridge`.

    Attributes:
        data: the directory.
        corpus: of the index.
        old: id of the index that was live before.
        model: id of its model.
        made: what the command published.
    """

    data: Path
    corpus: Path
    old: str
    model: str
    made: Bridged


@pytest.fixture(scope="module")
def new_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of other dimensions, with prompts and a longer input than the tiny one."""
    return make_tiny_model(tmp_path_factory.mktemp("new"), dense=24, prompts=PROMPTS, max_tokens=40)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, new_model: Path) -> Done:
    """An index of 260 tales with the tiny model, and the new model's queries on it."""
    folder = tmp_path_factory.mktemp("bridge")
    data = Path(shutil.copytree(tiny_data, folder / "data"))
    corpus = write_tales(folder / "tales.parquet", 260)
    old = build(str(corpus), BuildSettings(dense_weight=0.5), data, cores=1).manifest
    return Done(data, corpus, old.id, old.parents["model"], bridge(str(new_model), SETTINGS, data))


@pytest.fixture
def own(tmp_path: Path, done: Done) -> Done:
    """A copy for one test."""
    data = Path(shutil.copytree(done.data, tmp_path / "data"))
    return Done(data, done.corpus, done.old, done.model, done.made)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that are encoded as documents from now on."""
    texts: list[str] = []
    plain = Encoder.encode_documents

    def spy(encoder: Encoder, some: list[str], **options: bool) -> np.ndarray:
        texts.extend(some)
        return plain(encoder, some, **options)

    monkeypatch.setattr(Encoder, "encode_documents", spy)
    return texts


def open_both(done: Done) -> tuple[Index, Index]:
    """The old index, and the one with the new queries."""
    store = Store("index", done.data)
    old, new = (Index.open(store.path(name), cores=1) for name in (done.old, done.made.index.id))
    return old, new


# --- what is published ----------------------------------------------------------------------------------------------


def test_nothing_goes_live(done: Done) -> None:
    """Index and model that were live stay; the new model, the one with the map and their index are there, too."""
    indexes, models = Store("index", done.data), Store("model", done.data)
    assert (indexes.current_id(), models.current_id()) == (done.old, done.model)
    assert indexes.ids() == [done.old, done.made.index.id]
    assert done.made.model.id in models.ids()
    assert models.verify(done.made.model.id).config["vectors_of"] == done.model
    assert models.manifest(done.made.model.config["queries_of"]).contract.dimension == 24


def test_the_index_keeps_its_vectors(done: Done) -> None:
    """Passages and vectors are the old index's to the bit, and its documents and words are found."""
    old, new = open_both(done)
    rows = np.arange(len(old.dense))
    assert np.array_equal(old.dense.vectors(rows), new.dense.vectors(rows))
    assert new.manifest.counts | {"embedded": 0} == new.manifest.counts
    assert new.manifest.metrics["self_retrieval"] == 1
    lexical = [Retriever(index).search(QUERIES[0], "lexical").rows.tolist() for index in (old, new)]
    assert lexical[0] == lexical[1]


def test_live_writes_keep_their_vectors(done: Done) -> None:
    """Documents that were written over one of the two indexes are not encoded again over the other."""
    old, new = open_both(done)
    assert Preparer(old).recipe == Preparer(new).recipe


def test_queries_come_from_the_new_model(done: Done) -> None:
    """Queries have the new model's prompt and tokens, and vectors near the old ones; documents are the old model's."""
    old, new = open_both(done)
    assert new.encoder.query_encoder == "bridge"
    assert new.encoder.contract.query_prompt == PROMPTS["query"]
    assert new.encoder.contract.document_prompt == ""
    assert [count.tokens for count in new.encoder.count_tokens(["cat"], queries=True)] == [5]
    assert [count.tokens for count in new.encoder.count_tokens(["cat"], queries=False)] == [3]
    assert new.encoder.count_tokens(["cat " * 34], queries=True)[0].truncated is False
    assert new.encoder.count_tokens(["cat " * 34], queries=False)[0].truncated is True
    assert np.array_equal(old.encoder.encode_documents(QUERIES), new.encoder.encode_documents(QUERIES))
    before, after = old.encoder.encode_queries(QUERIES), new.encoder.encode_queries(QUERIES)
    assert after.shape == before.shape
    cosines = np.einsum("ij,ij->i", before, after)
    assert cosines.mean() > 0.85
    assert cosines.max() < 1 - 1e-6
    alone = np.stack([new.encoder.encode_query(query) for query in QUERIES])
    assert np.array_equal(alone, after)


def test_what_it_says(done: Done) -> None:
    """The first line judges, with intervals; each kind of question has a line with both searches."""
    first, *kinds = done.made.lines
    assert first.startswith(done.made.model.config["bridge"]["judgement"])
    assert "hybrid search" in first and "95 % interval" in first
    assert [line.partition(" (")[0] for line in kinds] == [
        "sentences of a neighbour", "sentences that were taken out", "key words",
    ]  # fmt: skip
    assert all("dense 0." in line and "hybrid 0." in line and "are the same" in line for line in kinds)
    metrics = done.made.model.metrics
    assert 0.8 < metrics["bridge_cosine"] < 1
    assert metrics["parity_fp32"] > 0.999
    assert metrics["new_queries_dense_ndcg10"] > metrics["old_queries_dense_ndcg10"] / 2


def test_a_build_of_the_corpus_encodes_nothing(own: Done, encoded: list[str]) -> None:
    """`indexer build` with the model takes the old vectors, and the other way round; only the self-check encodes."""
    settings = BuildSettings(dense_weight=0.5, model=own.made.model.id)
    again = build(str(own.corpus), settings, own.data, cores=1, live=False).manifest
    assert (again.counts["embedded"], again.config["query_encoder"]) == (0, "bridge")
    indexes = Store("index", own.data)
    shutil.rmtree(indexes.path(own.old))
    settings = BuildSettings(dense_weight=0.5, model=own.model)
    assert build(str(own.corpus), settings, own.data, cores=1).manifest.counts["embedded"] == 0
    assert len(encoded) <= 100


def test_the_old_encoder_of_queries_is_refused(own: Done) -> None:
    """The documents' encoder does not know the new prompt: a build that asks for it names the model that has it."""
    settings = BuildSettings(model=own.made.model.id, query_encoder="full")
    with pytest.raises(UserError, match=rf"--query-encoder full: .*give --model {own.model}"):
        build(str(own.corpus), settings, own.data, cores=1)


def test_an_evaluation_encodes_no_passage(own: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    """`trainer evaluate` takes the index's vectors for such a model, too."""
    monkeypatch.setattr(comparison, "encode_passages", None)
    old, _ = open_both(own)
    candidate = published_candidate(Store("model", own.data), own.made.model.id, old)
    assert candidate.shares_vectors
    assert np.array_equal(candidate.passages, old.dense.vectors(np.arange(len(old.dense))))
    assert candidate.encoder().query_encoder == "bridge"


# --- again, and after a kill ----------------------------------------------------------------------------------------


def test_the_same_again_is_up_to_date(own: Done, new_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished command encodes nothing again and says the same; through the command line, it prints the index."""
    monkeypatch.setattr(command, "make_pairs", None)
    again = bridge(str(new_model), SETTINGS, own.data)
    assert not again.fresh
    assert (again.model, again.index, again.lines) == (own.made.model, own.made.index, own.made.lines)
    monkeypatch.setenv("DOWSE_DATA", str(own.data))
    shown = CliRunner().invoke(app, ["bridge", str(new_model), "--sample", "400", "--budget", "5m"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines() == [*own.made.lines, own.made.index.id]
    assert "up to date" in shown.stderr
    assert f"python -m indexer activate {own.made.index.id}" in shown.stderr


def test_a_kill_loses_no_vectors(own: Done, new_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that were encoded before a kill are not encoded again."""
    settings = SETTINGS.model_copy(update={"seed": 1})

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    def encode(*_: object) -> None:
        pytest.fail("encoded again")

    with monkeypatch.context() as patch:
        patch.setattr(command, "write_bridge", kill)
        with pytest.raises(KeyboardInterrupt):
            bridge(str(new_model), settings, own.data)
    monkeypatch.setattr(pairs, "_encode", encode)
    assert bridge(str(new_model), settings, own.data).fresh


def test_while_an_index_is_built(own: Done, new_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new base's own index may be under way: the command does not wait for it, and `prune` waits for the command."""
    indexes = Store("index", own.data)
    settings = SETTINGS.model_copy(update={"seed": 2})

    def measure(index: Index) -> float:
        with pytest.raises(UserError, match=r"process \d+ is building here"):
            indexes.prune(9, set())
        return measure_self_retrieval(index)

    monkeypatch.setattr("indexer.build.share.measure_self_retrieval", measure)
    with indexes.building():
        made = bridge(str(new_model), settings, own.data)
    assert indexes.verify(made.index.id).metrics["self_retrieval"] == 1
    assert indexes.current_id() == own.old


def test_a_budget_ends_the_encoding(own: Done, new_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When the time is over, the map is learned from the pairs that there are, and the command says how many."""
    made = bridge(str(new_model), SETTINGS.model_copy(update={"budget": "0.0001s"}), own.data)
    assert made.model.config["bridge"]["pairs"] == pairs.BLOCK
    assert f"{pairs.BLOCK} of 400 pairs: the time of --budget is over" in capsys.readouterr().err


# --- other models and indexes ---------------------------------------------------------------------------------------


def refuse(done: Done, model: str, match: str, **settings: object) -> None:
    """Expect that the command refuses a model or an index."""
    with pytest.raises(UserError, match=match):
        bridge(model, SETTINGS.model_copy(update=settings), done.data)


def test_what_is_refused(own: Done, new_model: Path, tmp_path: Path) -> None:
    """The index's own model, a model or an index with a map already, and an index with too few texts."""
    refuse(own, own.model, "is the model of the index")
    refuse(own, own.made.model.id, "takes its vectors from another one")
    refuse(own, str(new_model), "queries are another model's already", index=own.made.index.id)
    refuse(own, str(tmp_path / "nothing"), "no directory")
    few = build(str(write_tales(tmp_path / "few.parquet", 1)), BuildSettings(dense_weight=0.5), own.data, cores=1)
    refuse(own, str(new_model), "a map needs 40", index=few.manifest.id)
    index = Index.open(Store("index", own.data).path(own.old), cores=1)
    with pytest.raises(UserError, match=f"needs those of {own.made.model.config['queries_of']}"):
        share_index(index, own.made.model.config["queries_of"], own.data)


def test_a_model_that_maps_dense_queries(own: Done, new_model: Path) -> None:
    """Over an index whose dense search maps its queries, the new ones are mapped there too; the vectors are the base's."""
    matrix = np.random.default_rng(5).normal(0, 0.4, (32, 32)).astype(np.float32) + np.eye(32, dtype=np.float32)
    publish_mapped(own.data, matrix, queries_only=True)
    tuned = build(str(own.corpus), BuildSettings(dense_weight=0.5), own.data, cores=1).manifest
    made = bridge(str(new_model), SETTINGS, own.data)
    assert made.model.config["vectors_of"] == own.model
    assert made.index.config["dense_map"]
    store = Store("index", own.data)
    index = Index.open(store.path(made.index.id), cores=1)
    expected = np.load(store.path(tuned.id) / DENSE_MAP)
    assert np.array_equal(index.contents.dense_map, expected)
    query = index.encoder.encode_query(QUERIES[0])
    searched = Retriever(index).search(QUERIES[0], "dense").vector
    assert searched is not None
    assert np.allclose(searched, expected @ query / np.linalg.norm(expected @ query), atol=1e-6)
    again = build(str(own.corpus), BuildSettings(dense_weight=0.5, model=made.model.id), own.data, cores=1).manifest
    assert (again.counts["embedded"], again.config["dense_map"]) == (0, True)


def test_a_worse_model_is_called_worse(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    """By labels, which alone decide where there are enough: a model that hardly tells texts apart loses."""
    flat = np.eye(32, dtype=np.float32) * 0.01
    flat[0, 0] = 1
    with_map(tiny_model, flat).save_pretrained(str(tmp_path / "blind"), create_model_card=False)
    corpus = write_labelled(tmp_path / "labelled", 60)
    build(str(corpus), BuildSettings(dense_weight=0.5), data, cores=1)
    settings = SETTINGS.model_copy(update={"qrels": corpus.with_name("qrels.parquet")})
    made = bridge(str(tmp_path / "blind"), settings, data)
    assert made.lines[0].startswith("worse: the new queries are worse than the old ones, by labels: dense search -0.")
    assert made.lines[1].startswith("labelled queries (120)")
    assert made.model.config["bridge"]["judgement"] == "worse"


def difference(mean: float, error: float) -> Difference:
    """A difference of this mean and standard error."""
    return Difference(
        mean=mean, low=mean - 1.96 * error, high=mean + 1.96 * error, p=0.5, standard_error=error, queries=100
    )


@pytest.mark.parametrize(
    ("dense", "hybrid", "guard", "expected"),
    [
        (0.05, 0.0, 0.0, "better"),
        (0.0, 0.05, 0.0, "better"),
        (0.05, -0.05, 0.0, "worse"),
        (0.05, 0.05, -0.05, "worse"),
        (0.01, -0.01, 0.01, "undecided"),
    ],
)
def test_what_the_differences_say(dense: float, hybrid: float, guard: float, expected: str) -> None:
    """Better needs a certain gain and no certain loss; a certain loss of either search, or with neighbours, is worse."""
    guards = {"dense": difference(guard, 0.01), "hybrid": difference(0, 0.01)}
    assert judge({"dense": difference(dense, 0.01), "hybrid": difference(hybrid, 0.01)}, guards) == expected  # type: ignore[arg-type]
