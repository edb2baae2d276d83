"""Verdict of a comparison: WIN, TIE or LOSS, by significance tests on nDCG@10.

A difference counts where a paired randomisation test finds it at the 5 % level (`trainer.evaluate.significance`).
"""

from __future__ import annotations

from collections.abc import Mapping

from trainer.evaluate.report import Group, JudgedBy, Leg, Verdict
from trainer.evaluate.significance import Difference, weighted_mean

ALPHA = 0.05
"""Significance level of a difference."""
SAFETY_ALPHA = 0.01
"""Level for the safety group, stricter because two legs are tested and either can turn a WIN into a LOSS."""
MIN_SAFETY_LOSS = 0.06
"""Smallest relative loss of nDCG@10 in the safety group that counts. Maps that help on people's queries lose up to 5 %
there, harmful ones 7 % and more (docs/decisions/training.md)."""
SECOND_WEIGHT = 0.5
"""Weight of a second kind of questions in the mean that judges dense search; key words have 1. Key words share their
vocabulary with the document, and alone they call maps a gain that harm people's queries (docs/experiments/verdicts.md)."""
MIN_SECOND_QUERIES = 30
"""With fewer a kind says nothing about a mean. Documents of one sentence have hardly any cloze queries."""
MAX_HYBRID_LOSS = 0.005
"""Loss of nDCG@10 in hybrid search up to which it is certainly not worse: the interval's lower end is above it."""
METRIC = "nDCG@10"


def decide(
    judged_by: JudgedBy, deciding: Group, safety: Group | None = None, neighbours: Group | None = None
) -> tuple[Verdict, list[str]]:
    """Return the verdict and its reasons, the one about hybrid search, which people use by default, first.

    WIN needs a gain in hybrid search, or a gain in dense search with hybrid search certainly not worse; and no loss.

    With labels both are judged on the deciding group. With synthetic queries dense search is judged by key words and, at
    half weight, by the safety group, or by neighbour questions where that is too small; and it must not become much worse
    on the safety group. Hybrid search is judged by neighbour questions, where there are enough, and by the safety group,
    not by key words: its lexical leg finds words of the text at once, so there is hardly anything to gain.

    Args:
        judged_by: labels or synthetic queries.
        deciding: the group on which the verdict rests.
        safety: with synthetic queries, the group of cloze queries: sentences that were taken out of their documents.
        neighbours: with synthetic queries, the group of neighbour questions.
    """
    dense = _dense(judged_by, deciding, safety, neighbours)
    hybrid = _hybrid(judged_by, deciding, neighbours)
    judged = [hybrid, dense] if hybrid else [dense]
    gains = [describe(name, difference) for name, difference in judged if is_better(difference)]
    losses = [describe(name, difference) for name, difference in judged if is_worse(difference)]
    legs: tuple[Leg, ...] = ("dense", "hybrid")
    for leg in legs if safety else ():
        difference = safety.differences[leg][METRIC]  # type: ignore[union-attr]
        before = safety.systems[f"base {leg}"][METRIC].mean  # type: ignore[union-attr]
        if is_worse(difference) and difference.p < SAFETY_ALPHA and difference.mean < -MIN_SAFETY_LOSS * before:
            losses.append(describe(f"{leg} search for sentences that were taken out of their documents", difference))
    if losses:
        return "LOSS", losses + gains
    if not gains:
        return "TIE", [describe(name, difference) for name, difference in judged]
    if hybrid and not is_better(hybrid[1]) and hybrid[1].low < -MAX_HYBRID_LOSS:
        return "TIE", [f"it is not certain that hybrid search is not worse; {describe(*hybrid)}", *gains]
    return "WIN", gains


def _dense(
    judged_by: JudgedBy, deciding: Group, safety: Group | None, neighbours: Group | None
) -> tuple[str, Difference]:
    """Return the difference that judges dense search, with its name in a sentence."""
    difference = deciding.differences["dense"][METRIC]
    seconds = {"sentences that were taken out": safety, "neighbours of a sentence's document": neighbours}
    for name, group in seconds.items() if judged_by != "labels" else ():
        if group and (second := group.differences["dense"][METRIC]).queries >= MIN_SECOND_QUERIES:
            both = weighted_mean([(1.0, difference), (SECOND_WEIGHT, second)])
            return f"dense search for key words and, at half weight, for {name}", both
    return "dense search", difference


def _hybrid(judged_by: JudgedBy, deciding: Group, neighbours: Group | None) -> tuple[str, Difference] | None:
    """Return the difference that judges hybrid search, with its name in a sentence; None where there is none."""
    if judged_by == "labels":
        return "hybrid search", deciding.differences["hybrid"][METRIC]
    if neighbours:
        return "hybrid search for neighbours of a sentence's document", neighbours.differences["hybrid"][METRIC]
    return None


def decide_reranking(judged_by: JudgedBy, groups: Mapping[str, Group], deciding: str) -> tuple[Verdict, list[str]]:
    """Return the verdict about re-ranked hybrid search, and its reasons: one for each kind of question, what decides first.

    Without labels a kind that is certainly worse outweighs all that are better: each can mislead in its own way.

    Args:
        judged_by: labels or synthetic queries.
        groups: name → figures of hybrid search without (base) and with re-ranking (tuned).
        deciding: the group on which a verdict by labels rests.
    """
    judged = {deciding: groups[deciding]} if judged_by == "labels" else groups
    differences = {name: each.differences["hybrid"][METRIC] for name, each in judged.items()}
    lines = {name: describe(f"re-ranked search ({name})", each) for name, each in differences.items()}
    losses = [lines[name] for name, each in differences.items() if is_worse(each)]
    gains = [lines[name] for name, each in differences.items() if is_better(each)]
    others = [line for line in lines.values() if line not in losses + gains]
    return "LOSS" if losses else "WIN" if gains else "TIE", losses + gains + others


def is_better(difference: Difference) -> bool:
    """Say whether the tuned model is significantly better."""
    return difference.mean > 0 and difference.p < ALPHA


def is_worse(difference: Difference) -> bool:
    """Say whether the tuned model is significantly worse."""
    return difference.mean < 0 and difference.p < ALPHA


def describe(name: str, difference: Difference) -> str:
    """Return one difference as a sentence."""
    how = (
        "is better" if is_better(difference) else "is worse" if is_worse(difference) else "does not differ for certain"
    )
    queries = f"{difference.queries:,} queries"
    if difference.clusters and difference.clusters < difference.queries:
        queries += f" in {difference.clusters:,} clusters that share a document"
    return (
        f"{name} {how}: nDCG@10 {difference.mean:+.4f} (95 % interval {difference.low:+.4f} to {difference.high:+.4f}, "
        f"p = {difference.p:.4f}, {queries})"
    )
