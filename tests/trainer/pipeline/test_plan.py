"""The plan: what a run is going to do with what it finds, and how long that takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from indexer.artifacts.store import Store
from indexer.index.index import Index
from trainer.pipeline.plan import Facts, Sizes, Step, lines, make_plan
from trainer.pipeline.settings import RunSettings

FACTS = Facts(
    documents=5_000, passages=9_000, labels=False, llm=False, cores=2, device="CPU", passages_a_second=50,
    queries_a_second=500,
)  # fmt: skip


def steps(facts: Facts = FACTS, **settings: object) -> list[str]:
    """Return what the steps of a plan are about."""
    return [step.what for step in make_plan(facts, RunSettings.model_validate(settings))]


def test_texts_alone() -> None:
    """From texts alone a map is learned and measured; neither labels nor layers nor a language model are spoken of."""
    plan = " ".join(steps())
    assert "whitening" in plan
    assert "learn a map from the fused ranking" in plan
    assert "exam" in plan
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


def test_a_language_model_comes_first() -> None:
    """Queries are written before anything is learned; the model is named where it was."""
    facts = replace(FACTS, llm=True)
    assert steps(facts, llm="http://localhost/v1", llm_model="llama3")[0] == "let llama3 write queries"
    assert steps(facts, llm_path="model")[0] == "let the language model write queries"


def test_more_of_everything_takes_longer() -> None:
    """Estimates follow the speed of the machine, the size of the corpus, and the budget."""

    def seconds(facts: Facts, what: str, budget: str = "15m") -> float:
        [step] = [step for step in make_plan(facts, RunSettings(budget=budget)) if what in step.what]
        return step.seconds

    assert seconds(replace(FACTS, queries_a_second=250), "encode queries") == 2 * seconds(FACTS, "encode queries")
    assert seconds(replace(FACTS, cores=8), "exam") < seconds(FACTS, "exam")
    assert seconds(replace(FACTS, documents=100), "fused ranking") < seconds(FACTS, "fused ranking")
    assert seconds(FACTS, "fused ranking", "30s") < seconds(FACTS, "fused ranking")
    labelled = replace(FACTS, labels=True)
    assert seconds(labelled, "encode all passages") == pytest.approx(180)  # 9,000 passages, 50 a second
    assert seconds(labelled, "layers", "1h") > seconds(labelled, "layers")


def test_the_lines() -> None:
    """The plan says what was found, each step with its time, and the sum; what nobody can know has no time."""
    found = lines(
        replace(FACTS, labels=True, llm=True, cores=1), [Step("a", 90), Step("b", float("nan")), Step("c", 30.4)]
    )
    assert found == [
        "plan for 5,000 documents (9,000 passages), labels, queries by a language model, on CPU with one core:",
        "  a: about 90 s",
        "  b: depends on it",
        "  c: about 30 s",
        "  together about 2:00 min",
    ]
    assert "no labels, on CPU with 2 cores" in lines(FACTS, [])[0]


def test_facts_are_found(built_data: Path, tmp_path: Path) -> None:
    """What a plan rests on comes from the index, the settings and the machine."""
    index = Index.open(Store("index", built_data).resolve(), cores=2)
    facts = Facts.find(index, RunSettings())
    assert (facts.documents, facts.passages, facts.cores) == (6, 6, 2)
    assert (facts.labels, facts.llm) == (False, False)
    assert facts.passages_a_second > 0
    assert facts.queries_a_second > 0
    other = Facts.find(index, RunSettings(qrels=tmp_path / "qrels.csv", llm_path="model"))
    assert (other.labels, other.llm) == (True, True)
    assert Facts.find(index, RunSettings(llm="http://localhost/v1")).llm


@pytest.mark.parametrize(("budget", "share"), [(3600, 1), (180, 1), (90, 0.5), (60, 1 / 3)])
def test_sizes_follow_the_budget(budget: float, share: float) -> None:
    """From three minutes on nothing is saved on; with less time there are fewer queries."""
    full = Sizes()
    sizes = Sizes.within(budget)
    assert sizes.practice == pytest.approx(max(full.practice * share**2, 1_000), abs=1)
    assert sizes.clozes == pytest.approx(max(full.clozes * share, 120), abs=1)


def test_sizes_have_a_floor() -> None:
    """However little time there is, there are enough questions for a verdict."""
    sizes = Sizes.within(1)
    assert sizes.practice >= 1_000
    assert sizes.dev >= 200
    assert sizes.keywords >= 400
    assert sizes.clozes >= 120
    assert Sizes.within(2) == sizes
