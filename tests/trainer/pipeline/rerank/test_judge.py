"""`trainer reranker --judge`: the verdict about re-ranked search, and what it means for the live cross-encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tales import write_labelled, write_tales
from tiny_reranker import make_tiny_reranker
from typer.testing import CliRunner

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.reranker import Reranker, RerankResult
from indexer.retrieval.ranking import Ranking
from trainer.cli import app
from trainer.models.reranker import publish_reranker
from trainer.pipeline.rerank import judge
from trainer.pipeline.rerank.groups import NEIGHBOURS
from trainer.pipeline.rerank.judge import publish_judged
from trainer.pipeline.rerank.scored import reorder
from trainer.pipeline.settings import JudgedRerankerSettings


@pytest.fixture(scope="module")
def cross_encoder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder of the Hub's format."""
    return make_tiny_reranker(tiny_model, tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of tales with labels: a query shares words with its tale, which both legs hardly see."""
    return write_labelled(tmp_path_factory.mktemp("labelled"), 160)


def settings(corpus: Path, *, labels: bool = True, **more: int) -> JudgedRerankerSettings:
    """Return settings that judge on a corpus."""
    qrels = corpus.with_name("qrels.parquet") if labels else None
    return JudgedRerankerSettings(judge=str(corpus), qrels=qrels, language="en", budget_ms=60_000, **more)


def scores_by(monkeypatch: pytest.MonkeyPatch, sign: int) -> None:
    """Let every cross-encoder count the words that query and passage share, or the opposite."""

    def score(_self: Reranker, query: str, passages: list[str], *_: float) -> RerankResult:
        words = set(query.lower().split())
        shared = [sign * len(words & set(text.lower().replace(".", "").split())) for text in passages]
        return RerankResult(np.array(shared, dtype=np.float32), len(passages), 0.0, 0.0)

    monkeypatch.setattr("trainer.models.reranker.compare_scores", lambda *_: 0.0)
    monkeypatch.setattr(Reranker, "score", score)


def test_a_win_goes_live_with_what_the_judge_found(
    monkeypatch: pytest.MonkeyPatch, data: Path, labelled: Path, cross_encoder: Path
) -> None:
    """The manifest says how searches are re-ranked that do not ask, and for which model that was measured."""
    scores_by(monkeypatch, 1)
    published = publish_judged(str(cross_encoder), settings(labelled, top_n=40), data)
    config, metrics = published.manifest.config, published.manifest.metrics
    assert config["verdict"] == "WIN"
    assert config["judged_by"] == "labels"
    assert config["judged_with"] == Store("model", data).current_id()
    assert config["top_n"] == 40 and config["weight"] in judge.WEIGHTS
    assert metrics["hybrid_ndcg10"] > metrics["base_hybrid_ndcg10"] + 0.05
    assert any("is better" in reason for reason in published.manifest.notes)
    assert Store("reranker", data).current_id() == published.manifest.id
    assert not publish_judged(str(cross_encoder), settings(labelled, top_n=40), data).fresh


def test_what_is_worse_replaces_no_winner(
    monkeypatch: pytest.MonkeyPatch, data: Path, labelled: Path, cross_encoder: Path
) -> None:
    """A cross-encoder that lost or was not judged is kept beside a live winner, and is live where there is none."""
    store = Store("reranker", data)
    scores_by(monkeypatch, -1)
    lost = publish_judged(str(cross_encoder), settings(labelled), data).manifest
    assert lost.config["verdict"] == "LOSS"
    assert store.current_id() == lost.id, "searches that ask for it may use it"
    scores_by(monkeypatch, 1)
    won = publish_judged(str(cross_encoder), settings(labelled, seed=1), data).manifest
    assert won.config["verdict"] == "WIN"
    assert store.current_id() == won.id
    scores_by(monkeypatch, -1)
    publish_judged(str(cross_encoder), settings(labelled, seed=2), data)
    publish_reranker(str(cross_encoder), JudgedRerankerSettings(), data)
    assert store.current_id() == won.id
    assert len(store.ids()) == 4


def test_a_winner_is_compared_with_the_live_one(
    monkeypatch: pytest.MonkeyPatch, data: Path, labelled: Path, cross_encoder: Path
) -> None:
    """A cross-encoder that is better than no re-ranking replaces one that re-ranks by default only if it is better still."""
    store = Store("reranker", data)
    scores_by(monkeypatch, 1)
    first = publish_judged(str(cross_encoder), settings(labelled, top_n=5), data).manifest
    assert first.config["verdict"] == "WIN" and "compared_with" not in first.config
    same = publish_judged(str(cross_encoder), settings(labelled, top_n=5, seed=1), data).manifest
    assert same.config["verdict"] == "WIN"
    assert (same.config["compared_with"], same.config["verdict_against_live"]) == (first.id, "TIE")
    assert any(f"against {first.id}" in reason for reason in same.notes)
    assert store.current_id() == first.id, "equally good is not better"
    deeper = publish_judged(str(cross_encoder), settings(labelled, top_n=40), data).manifest
    assert deeper.config["verdict_against_live"] == "WIN"
    assert store.current_id() == deeper.id
    publish_judged(str(cross_encoder), settings(labelled, top_n=5, seed=1), data)
    assert store.current_id() == deeper.id, "it was never compared with this one"


def test_without_labels_kinds_of_questions_judge(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path, cross_encoder: Path
) -> None:
    """Synthetic queries judge; the weight is chosen on queries about other documents than the verdict rests on."""
    scores_by(monkeypatch, -1)
    seen: dict[str, set[str]] = {}
    rank = judge.rank_sample

    def noted(name: str, test: judge.TestSet, seed: int) -> judge.RankedQueries:
        seen[name] = test.queries.documents
        return rank(name, test, seed)

    monkeypatch.setattr(judge, "rank_sample", noted)
    corpus = write_tales(tmp_path / "tales.parquet", 150)
    published = publish_judged(str(cross_encoder), settings(corpus, labels=False), data)
    assert published.manifest.config["verdict"] == "LOSS"
    assert published.manifest.config["judged_by"] == "synthetic queries"
    chosen = [name for name in seen if name.endswith(judge.CHOOSE)]
    assert len(chosen) == 2
    assert any(NEIGHBOURS in reason for reason in published.manifest.notes)
    for name in chosen:
        assert seen[name] and not seen[name] & seen[name.removesuffix(judge.CHOOSE)]


def test_a_model_that_is_too_slow_is_refused(data: Path, labelled: Path, cross_encoder: Path) -> None:
    """Where the budget of a search suffices for no results, nothing is judged or published."""
    slow = settings(labelled).model_copy(update={"budget_ms": 1, "top_n": 2})
    with pytest.raises(UserError, match="--budget-ms"):
        publish_judged(str(cross_encoder), slow, data)
    assert Store("reranker", data).ids() == []


def test_the_real_graph_is_judged_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, data: Path, labelled: Path, cross_encoder: Path
) -> None:
    """The command exports the model, judges it on the corpus and prints the id; what it says is in the manifest."""
    monkeypatch.setenv("DOWSE_DATA", str(data))
    qrels = labelled.with_name("qrels.parquet")
    command = ["reranker", str(cross_encoder), "--judge", str(labelled), "--qrels", str(qrels), "--budget-ms", "60000"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    manifest = Store("reranker", data).verify(done.stdout.strip().splitlines()[-1])
    assert manifest.config["verdict"] in {"WIN", "TIE", "LOSS"}
    assert f"verdict: {manifest.config['verdict']}" in done.stderr
    assert manifest.metrics["milliseconds"] > 0


def test_only_scored_results_change_their_order() -> None:
    """The first results are ordered by the mixed scores, the others stay; with the weight 0 all stay."""
    ranking = Ranking(rows=np.array([7, 3, 9, 1]), scores=np.array([4.0, 3.0, 2.0, 1.0]))
    scores = np.array([0.0, 1.0, 9.0], dtype=np.float32)
    assert reorder(ranking, scores, 0) == [7, 3, 9, 1]
    assert reorder(ranking, scores, 1) == [9, 3, 7, 1]
    assert reorder(ranking, np.array([0.0, 0.2, 0.1], dtype=np.float32), 0.25) == [7, 3, 9, 1]
