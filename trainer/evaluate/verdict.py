"""WIN, TIE or LOSS: what the measurements allow to be said, and nothing more.

A difference counts when a paired randomisation test finds it at the 5 % level (`trainer.evaluate.significance`).
"""

from __future__ import annotations

from trainer.evaluate.report import Group, JudgedBy, Leg, Verdict
from trainer.evaluate.significance import Difference

LEVEL = 0.05
SURE = 0.01
"""Level at which the safety group counts: two legs are tested, and two queries come from one sentence."""
MUCH = 0.06
"""Share of nDCG@10 that the safety group has to lose, too: maps that help people lose up to 5 %, harmful ones 7 % and more
(DECISIONS.md)."""
METRIC = "nDCG@10"


def decide(judged_by: JudgedBy, deciding: Group, safety: Group | None = None) -> tuple[Verdict, list[str]]:
    """Return the verdict and its reasons.

    With labels: WIN when dense or hybrid search became better and neither became worse. With synthetic queries: WIN
    when dense search became better on key words, and neither dense nor hybrid search became much worse on sentences
    that were taken out. Hybrid search is not judged by key words: words that are still in the text find their document at
    once, and there is hardly anything to gain.

    Args:
        judged_by: labels or synthetic queries.
        deciding: the group on which the verdict rests.
        safety: with synthetic queries, the group of sentences that were taken out.
    """
    dense, hybrid = (deciding.differences[leg][METRIC] for leg in ("dense", "hybrid"))
    checked = [("dense search", dense)]
    if judged_by == "labels":
        checked.append(("hybrid search", hybrid))
    gains = [text(name, each) for name, each in checked if better(each)]
    harms = [text(name, each) for name, each in checked if worse(each)]
    legs: tuple[Leg, ...] = ("dense", "hybrid")
    for leg in legs if safety else ():
        each = safety.differences[leg][METRIC]  # type: ignore[union-attr]
        before = safety.systems[f"base {leg}"][METRIC].mean  # type: ignore[union-attr]
        if worse(each) and each.p < SURE and each.mean < -MUCH * before:
            harms.append(text(f"{leg} search for sentences that were taken out of their documents", each))
    if harms:
        return "LOSS", harms + gains
    if gains:
        return "WIN", gains
    return "TIE", [text(name, each) for name, each in checked]


def better(difference: Difference) -> bool:
    """Say whether the tuned model is better, and that not by chance."""
    return difference.mean > 0 and difference.p < LEVEL


def worse(difference: Difference) -> bool:
    """Say whether the tuned model is worse, and that not by chance."""
    return difference.mean < 0 and difference.p < LEVEL


def text(name: str, difference: Difference) -> str:
    """Return one difference as a sentence."""
    how = "is better" if better(difference) else "is worse" if worse(difference) else "does not differ for certain"
    return (
        f"{name} {how}: nDCG@10 {difference.mean:+.4f} (95 % interval {difference.low:+.4f} to {difference.high:+.4f}, "
        f"p = {difference.p:.4f}, {difference.queries:,} queries)"
    )
