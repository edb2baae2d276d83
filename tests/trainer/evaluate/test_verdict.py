"""The verdict: which differences give WIN, TIE or LOSS."""

from __future__ import annotations

import pytest

from trainer.evaluate.report import Group, Summary
from trainer.evaluate.significance import Difference, weighted_mean
from trainer.evaluate.verdict import decide, decide_reranking, describe, is_better, is_worse

Change = tuple[float, float]
"""Mean and p."""
UP, DOWN, UNSURE_UP, UNSURE_DOWN, NONE = (0.03, 0.001), (-0.03, 0.001), (0.03, 0.2), (-0.03, 0.2), (0.0, 1.0)
FAR_DOWN = (-0.04, 0.001)


def difference(change: Change) -> Difference:
    """Return a difference of this mean and p."""
    mean, p = change
    width = 0.01 if mean else 0.004
    return Difference(mean=mean, low=mean - width, high=mean + width, p=p, standard_error=0.005, queries=1234)


def group(dense: Change, hybrid: Change, other: Change = NONE) -> Group:
    """Return the figures of a group; all measures but nDCG@10 changed by ``other``."""
    legs = {"dense": dense, "hybrid": hybrid}
    return Group(
        queries=1234,
        systems={f"base {leg}": {"nDCG@10": Summary(mean=0.5, low=0.4, high=0.6)} for leg in ("dense", "hybrid")},
        differences={
            leg: {
                "nDCG@10": difference(change),
                "MRR@10": difference(other),
                "Recall@100": difference(other),
            }
            for leg, change in legs.items()
        },
    )


@pytest.mark.parametrize(
    ("dense", "hybrid", "verdict"),
    [
        (UP, UP, "WIN"),
        (UP, NONE, "WIN"),
        (NONE, UP, "WIN"),
        (UP, UNSURE_DOWN, "TIE"),
        (NONE, NONE, "TIE"),
        (UNSURE_UP, UNSURE_UP, "TIE"),
        (UNSURE_DOWN, UNSURE_DOWN, "TIE"),
        (DOWN, NONE, "LOSS"),
        (NONE, DOWN, "LOSS"),
        (UP, DOWN, "LOSS"),
        (DOWN, UP, "LOSS"),
    ],
)
def test_with_labels(dense: Change, hybrid: Change, verdict: str) -> None:
    """WIN if hybrid search is better, or dense search with hybrid search certainly not worse; a loss outweighs a gain."""
    assert decide("labels", group(dense, hybrid))[0] == verdict


@pytest.mark.parametrize(
    ("dense", "hybrid", "verdict"),
    [
        (UP, NONE, "WIN"),
        (UP, DOWN, "WIN"),
        (NONE, UP, "TIE"),
        (NONE, DOWN, "TIE"),
        (UNSURE_UP, UP, "TIE"),
        (DOWN, UP, "LOSS"),
    ],
)
def test_key_words_judge_dense_search_alone(dense: Change, hybrid: Change, verdict: str) -> None:
    """Key words are still in the text, where the lexical leg finds them: hybrid search is not judged by them."""
    assert decide("synthetic queries", group(dense, hybrid))[0] == verdict


@pytest.mark.parametrize(
    ("dense", "hybrid", "verdict"),
    [
        (NONE, NONE, "WIN"),
        (UP, UP, "WIN"),
        (UNSURE_DOWN, UNSURE_DOWN, "WIN"),
        (NONE, (-0.04, 0.01), "WIN"),
        ((-0.04, 0.0101), NONE, "TIE"),
        ((-0.04, 0.01), (-0.04, 0.03), "TIE"),
        ((-0.04, 0.0099), NONE, "LOSS"),
        ((-0.029, 0.001), NONE, "WIN"),
        ((-0.031, 0.001), NONE, "LOSS"),
        (FAR_DOWN, NONE, "LOSS"),
        (NONE, FAR_DOWN, "LOSS"),
        (FAR_DOWN, UP, "LOSS"),
    ],
)
def test_cloze_queries_can_forbid_a_win(dense: Change, hybrid: Change, verdict: str) -> None:
    """A gain on key words is a LOSS if either leg loses on cloze queries, at the 1 % level and by 6 % of nDCG@10.

    It is none where the loss of dense search leaves no certain gain of both kinds together.
    """
    assert decide("synthetic queries", group(UP, NONE), group(dense, hybrid))[0] == verdict


@pytest.mark.parametrize(
    ("key_words", "clozes", "queries", "verdict"),
    [
        ((0.012, 0.005), (-0.006, 0.007), 30, "TIE"),
        ((0.012, 0.005), (-0.006, 0.007), 29, "WIN"),
        ((0.020, 0.004), (-0.017, 0.010), 300, "TIE"),
        ((0.019, 0.015), (0.101, 0.029), 300, "WIN"),
        ((0.0, 0.0), (0.0, 0.0), 300, "TIE"),
        ((-0.02, 0.004), (0.01, 0.009), 300, "LOSS"),
    ],
)
def test_both_kinds_judge_dense_search(key_words: Change, clozes: Change, queries: int, verdict: str) -> None:
    """Dense search is judged by the mean of key words and, at half weight, enough cloze queries; here with errors, not p."""

    def judged(change: Change) -> Group:
        mean, error = change
        p = 0.5 if abs(mean) < 1.96 * error or not error else 0.01
        of = difference((mean, p)).model_copy(update={"standard_error": error, "queries": queries})
        return group(NONE, NONE).model_copy(
            update={"differences": {"dense": {"nDCG@10": of}, "hybrid": {"nDCG@10": difference(NONE)}}}
        )

    assert decide("synthetic queries", judged(key_words), judged(clozes))[0] == verdict
    # Where there are too few cloze queries, neighbour questions stand in for them.
    few = judged(clozes).model_copy(deep=True)
    few.differences["dense"]["nDCG@10"] = difference(NONE).model_copy(update={"queries": 29})
    assert decide("synthetic queries", judged(key_words), few, judged(clozes))[0] == verdict


def test_the_weighted_mean() -> None:
    """Its mean, error, interval and p are those of independent normal differences."""
    one, other = ((mean, 0.5) for mean in (0.012, -0.006))
    parts = [difference(one).model_copy(update={"clusters": 20}), difference(other).model_copy(update={"clusters": 30})]
    both = weighted_mean([(1.0, parts[0]), (0.5, parts[1])])
    assert both.mean == pytest.approx(0.006)
    assert both.standard_error == pytest.approx((0.005**2 + 0.0025**2) ** 0.5 / 1.5)
    assert (both.low, both.high) == pytest.approx((-0.0013, 0.0133), abs=1e-4)
    assert both.p == pytest.approx(0.1074, abs=1e-3)
    assert (both.queries, both.clusters) == (2 * 1234, 50)
    assert weighted_mean([(1.0, parts[0]), (0.5, difference(other))]).clusters is None


@pytest.mark.parametrize(
    ("key_words", "hybrid", "verdict"),
    [
        (UP, NONE, "WIN"),
        (UP, UP, "WIN"),
        (NONE, UP, "WIN"),
        (NONE, NONE, "TIE"),
        (UP, UNSURE_DOWN, "TIE"),
        (UP, DOWN, "LOSS"),
        (DOWN, UP, "LOSS"),
    ],
)
def test_neighbour_questions_judge_hybrid_search(key_words: Change, hybrid: Change, verdict: str) -> None:
    """Without labels they say whether hybrid search gains; dense search they do not judge beside cloze queries."""
    neighbours = group(DOWN, hybrid)
    assert decide("synthetic queries", group(key_words, NONE), group(NONE, NONE), neighbours)[0] == verdict


def test_other_measures_do_not_decide() -> None:
    """The verdict rests on nDCG@10."""
    assert decide("labels", group(NONE, NONE, DOWN))[0] == "TIE"
    assert decide("labels", group(UP, NONE, DOWN))[0] == "WIN"


def test_the_reasons() -> None:
    """The reasons are the differences that the verdict rests on, with their figures; losses come first."""
    verdict, reasons = decide("labels", group(UP, DOWN))
    assert verdict == "LOSS"
    assert [reason.partition(":")[0] for reason in reasons] == ["hybrid search is worse", "dense search is better"]
    assert "nDCG@10 +0.0300 (95 % interval +0.0200 to +0.0400, p = 0.0010, 1,234 queries)" in reasons[1]
    _, reasons = decide("labels", group(UP, NONE))
    assert len(reasons) == 1
    _, reasons = decide("labels", group(UNSURE_UP, UNSURE_DOWN))
    assert [reason.partition(":")[0] for reason in reasons] == [
        "hybrid search does not differ for certain",
        "dense search does not differ for certain",
    ]
    _, reasons = decide("labels", group(UP, UNSURE_DOWN))
    assert reasons[0].startswith("it is not certain that hybrid search is not worse; hybrid search does not differ")
    _, reasons = decide("synthetic queries", group(UP, NONE), group(NONE, FAR_DOWN))
    assert reasons[0].startswith("hybrid search for sentences that were taken out of their documents is worse")
    assert len(decide("synthetic queries", group(NONE, NONE))[1]) == 1


def test_clusters_are_told() -> None:
    """Where queries share documents, the sentence says how many clusters were resampled."""
    alone = difference(UP)
    shared = alone.model_copy(update={"clusters": 321})
    assert describe("x", shared).endswith("1,234 queries in 321 clusters that share a document)")
    for clusters in (None, 1234):
        assert describe("x", alone.model_copy(update={"clusters": clusters})).endswith("1,234 queries)")


@pytest.mark.parametrize(("p", "certain"), [(0.0499, True), (0.05, False), (1.0, False)])
def test_the_level(p: float, certain: bool) -> None:
    """A difference counts below the 5 % level, in its own direction only."""
    up, down = difference((0.01, p)), difference((-0.01, p))
    assert (is_better(up), is_worse(up)) == (certain, False)
    assert (is_better(down), is_worse(down)) == (False, certain)
    assert ("is better" in describe("x", up), "is worse" in describe("x", down)) == (certain, certain)


def test_the_levels_are_exact() -> None:
    """A difference counts below p = 0.05, and not at it; the safety group's below 0.01."""
    below, at = (0.03, 0.0499), (0.03, 0.05)
    assert is_better(difference(below))
    assert not is_better(difference(at))
    assert is_worse(difference((-below[0], below[1])))
    assert not is_worse(difference((-at[0], at[1])))
    assert decide("labels", group(below, NONE))[0] == "WIN"
    assert decide("labels", group(at, NONE))[0] == "TIE"
    assert decide("synthetic queries", group(UP, NONE), group((-0.04, 0.0099), NONE))[0] == "LOSS"
    assert decide("synthetic queries", group(UP, NONE), group((-0.04, 0.01), NONE))[0] == "TIE"


def reranked(**changes: Change) -> dict[str, Group]:
    """Return groups by name in which re-ranking changed hybrid search so."""
    return {
        name: Group(queries=1234, systems={}, differences={"hybrid": {"nDCG@10": difference(change)}})
        for name, change in changes.items()
    }


@pytest.mark.parametrize(
    ("words", "sentences", "verdict"),
    [
        (UP, UP, "WIN"),
        (NONE, UP, "WIN"),
        (UP, UNSURE_DOWN, "WIN"),
        (UP, DOWN, "LOSS"),
        (DOWN, UP, "LOSS"),
        (UNSURE_UP, UNSURE_UP, "TIE"),
        (NONE, NONE, "TIE"),
    ],
)
def test_re_ranking_without_labels(words: Change, sentences: Change, verdict: str) -> None:
    """Kinds of questions fail differently: one that is certainly worse outweighs one that is better."""
    said, reasons = decide_reranking("synthetic queries", reranked(words=words, sentences=sentences), "words")
    assert said == verdict
    assert reasons
    assert all("re-ranked search" in reason for reason in reasons)


@pytest.mark.parametrize(("change", "verdict"), [(UP, "WIN"), (DOWN, "LOSS"), (UNSURE_UP, "TIE")])
def test_re_ranking_with_labels(change: Change, verdict: str) -> None:
    """With labels the group decides on which a verdict rests, whatever another one says."""
    for other in (UP, DOWN):
        assert decide_reranking("labels", reranked(unseen=change, all=other), "unseen")[0] == verdict
