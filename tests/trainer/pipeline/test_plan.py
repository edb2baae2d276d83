"""The plan of a run: its steps, by what the corpus and the settings give, and their estimated times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from indexer.artifacts.store import Store
from indexer.index.index import Index
from trainer.pipeline.plan import Facts, QueryCounts, Step, format_plan, make_plan
from trainer.pipeline.settings import RunSettings

FACTS = Facts(
    documents=5_000, passages=9_000, labels=False, llm=False, cores=2, device="CPU", passages_a_second=50,
    queries_a_second=500,
)  # fmt: skip


def steps(facts: Facts = FACTS, **settings: object) -> list[str]:
    """Return the names of the steps of a plan."""
    return [step.name for step in make_plan(facts, RunSettings.model_validate(settings))]


def test_texts_alone() -> None:
    """From texts alone a map is learned and measured; labels, layers and a language model are not mentioned."""
    plan = " ".join(steps())
    assert "whitening" in plan
    assert "learn a map from the fused ranking" in plan
    assert "evaluate base and tuned model" in plan
    assert not [word for word in ("labels", "layers", "write queries") if word in plan]


def test_labels() -> None:
    """Labels add a rung; where there is time also the encoder's layers, unless these were ruled out."""
    labelled = replace(FACTS, labels=True)
    plan = steps(labelled)
    assert any("map from the labels" in step for step in plan)
    assert any("layers" in step for step in plan)
    assert any("encode all passages again" in step for step in plan)
    frozen = steps(labelled, layers="never")
    assert any("map from the labels" in step for step in frozen)
    assert not any("layers" in step or "encode all passages" in step for step in frozen)


def test_a_small_query_encoder() -> None:
    """A small query encoder is part of the plan where one is asked for."""
    assert not any("query encoder" in step for step in steps())
    assert any("query encoder" in step for step in steps(query_encoder="auto"))


def test_a_language_model_comes_first() -> None:
    """Queries are written before anything is learned; the step names the model if the settings do."""
    facts = replace(FACTS, llm=True)
    assert steps(facts, llm="http://localhost/v1", llm_model="llama3")[0] == "let llama3 write queries"
    assert steps(facts, llm_path="model")[0] == "let the language model write queries"


def test_more_of_everything_takes_longer() -> None:
    """Estimates follow the speed of the machine, the size of the corpus, and the budget."""

    def seconds(facts: Facts, name: str, budget: str = "15m") -> float:
        [step] = [step for step in make_plan(facts, RunSettings(budget=budget)) if name in step.name]
        return step.seconds

    assert seconds(replace(FACTS, queries_a_second=250), "encode queries") == 2 * seconds(FACTS, "encode queries")
    assert seconds(replace(FACTS, cores=8), "evaluate") < seconds(FACTS, "evaluate")
    assert seconds(replace(FACTS, documents=100), "fused ranking") < seconds(FACTS, "fused ranking")
    assert seconds(FACTS, "fused ranking", "30s") < seconds(FACTS, "fused ranking")
    labelled = replace(FACTS, labels=True)
    assert seconds(labelled, "encode all passages") == pytest.approx(180)  # 9,000 passages, 50 a second
    assert seconds(labelled, "layers", "1h") > seconds(labelled, "layers")


def test_the_lines() -> None:
    """The plan has a head line with the facts, each step with its time, and the sum; an unknown time is «no estimate»."""
    lines = format_plan(
        replace(FACTS, labels=True, llm=True, cores=1), [Step("a", 90), Step("b", float("nan")), Step("c", 30.4)]
    )
    assert lines == [
        "plan for 5,000 documents (9,000 passages), labels, queries by a language model, on CPU with one core:",
        "  a: about 90 s",
        "  b: no estimate",
        "  c: about 30 s",
        "  together about 2:00 min",
    ]
    assert "no labels, on CPU with 2 cores" in format_plan(FACTS, [])[0]


def test_facts_are_measured(built_data: Path, tmp_path: Path) -> None:
    """The facts of a plan come from the index, the settings and the machine."""
    index = Index.open(Store("index", built_data).resolve(), cores=2)
    facts = Facts.measure(index, RunSettings())
    assert (facts.documents, facts.passages, facts.cores) == (6, 6, 2)
    assert (facts.labels, facts.llm) == (False, False)
    assert facts.passages_a_second > 0
    assert facts.queries_a_second > 0
    other = Facts.measure(index, RunSettings(qrels=tmp_path / "qrels.csv", llm_path="model"))
    assert (other.labels, other.llm) == (True, True)
    assert Facts.measure(index, RunSettings(llm="http://localhost/v1")).llm


@pytest.mark.parametrize(("budget", "share"), [(3600, 1), (180, 1), (90, 0.5), (60, 1 / 3)])
def test_query_counts_follow_the_budget(budget: float, share: float) -> None:
    """From three minutes on a run uses all queries; with less time there are fewer."""
    full = QueryCounts()
    counts = QueryCounts.for_budget(budget)
    assert counts.unlabelled == pytest.approx(max(full.unlabelled * share**2, 1_000), abs=1)
    assert counts.clozes == pytest.approx(max(full.clozes * share, 120), abs=1)


def test_query_counts_have_a_minimum() -> None:
    """However little time there is, there are enough queries for a verdict."""
    counts = QueryCounts.for_budget(1)
    assert counts.unlabelled >= 1_000
    assert counts.dev >= 200
    assert counts.keywords >= 400
    assert counts.clozes >= 120
    assert QueryCounts.for_budget(2) == counts
