"""Report of a training run: pydantic models of `report.json`, which `report.html` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from trainer.evaluate.reliability import Calibration
from trainer.evaluate.significance import Difference

JSON_FILE = "report.json"
HTML_FILE = "report.html"

ALL = "all test queries"
UNSEEN = "queries whose documents were not trained on"
"""Group on which a verdict rests: on documents that it was trained on, the tuned model looks too good."""

SYSTEMS = ("BM25", "base dense", "tuned dense", "base hybrid", "tuned hybrid")

MAX_TEXT = 400
"""Characters of a text that the report shows."""

Verdict = Literal["WIN", "TIE", "LOSS"]
JudgedBy = Literal["labels", "synthetic queries"]
Leg = Literal["dense", "hybrid"]
Which = Literal["base", "tuned"]


def shorten(text: str) -> str:
    """Return the beginning of ``text`` on one line, at most 400 characters, with an ellipsis where it was cut."""
    line = " ".join(text.split())
    if len(line) <= MAX_TEXT:
        return line
    return line[: MAX_TEXT - 2].rstrip() + " …"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)  # JSON has no NaN


class CorpusFacts(_Part):
    """The corpus."""

    name: str = Field(description="the source")
    documents: int = Field(description="documents in the corpus")
    passages: int = Field(description="passages in the corpus")
    language: str = Field(description="language of stemming and stop words")


class BaseModelFacts(_Part):
    """The base model: the one that the tuned model is compared with."""

    id: str = Field(description="id of the artifact")
    name: str = Field(description="name of the model, on the Hub or of its directory")


class Rung(_Part):
    """One rung of the ladder: a training step, kept only if the dev split agreed."""

    name: str = Field(description="the training step")
    kept: bool = Field(description="whether it made dev better, and so is part of the model")
    seconds: float = Field(description="time that it took")
    dev_before: float | None = Field(default=None, description="score on dev before the step; null if not measured")
    dev_after: float | None = Field(default=None, description="score on dev after the step; null if not measured")


class TunedModelFacts(_Part):
    """The tuned model, its recipe and the rungs that were tried."""

    name: str = Field(description="the model")
    recipe: dict[str, JsonValue] = Field(description="settings with which it was trained")
    rungs: list[Rung] = Field(default=[], description="the steps of training that were tried, in their order")


class Summary(_Part):
    """Mean of a measure over the queries with its 95 % bootstrap interval."""

    mean: float = Field(description="mean over the queries")
    low: float = Field(description="lower end of the interval")
    high: float = Field(description="upper end of the interval")


class Group(_Part):
    """Figures over one set of queries."""

    queries: int = Field(description="number of queries")
    systems: dict[str, dict[str, Summary]] = Field(description="system → measure → mean and interval")
    differences: dict[Leg, dict[str, Difference]] = Field(description="leg → measure → tuned − base, paired")


class Weights(_Part):
    """Weight of the dense leg in hybrid search with either model, and how it was found."""

    base: float = Field(description="weight with the base model; the lexical leg has the rest")
    tuned: float = Field(description="weight with the tuned model")
    how: str = Field(description="how the weights were found")


class Shown(_Part):
    """A document as the report shows it."""

    id: str = Field(description="id of the document")
    title: str | None = Field(default=None, description="its title; null where it has none")
    text: Annotated[str, AfterValidator(shorten)] = Field(description=f"its text, at most {MAX_TEXT} characters")


class QueryChange(_Part):
    """One query that gained or lost much: its relevant documents, and the first result of each model."""

    query_id: str = Field(description="id of the query")
    query: Annotated[str, AfterValidator(shorten)] = Field(description=f"the query, at most {MAX_TEXT} characters")
    before: float = Field(description="the measure with the base model")
    after: float = Field(description="the measure with the tuned model")
    wanted: list[Shown] = Field(description="relevant documents")
    found_before: Shown | None = Field(description="first result with the base model; null for none")
    found_after: Shown | None = Field(description="first result with the tuned model; null for none")


class LossPoint(_Part):
    """The training loss at one step."""

    step: int = Field(description="number of the step")
    seconds: float = Field(description="time since training began")
    loss: float = Field(description="training loss")


class DevPoint(_Part):
    """The dev split's measure after one step or rung."""

    at: str | int = Field(description="number of the step, or name of the rung")
    value: float = Field(description="score on dev")


class Curves(_Part):
    """Training losses, and scores on dev."""

    loss: list[LossPoint] = Field(default=[], description="training losses")
    dev: list[DevPoint] = Field(default=[], description="scores on dev")
    dev_measure: str = Field(default="nDCG@10", description="measure of the scores")


class Separation(_Part):
    """Histograms of cosines with the query: of its best relevant document, and of its best irrelevant one."""

    edges: list[float] = Field(description="bounds of the bins, one more than there are bins")
    relevant: list[int] = Field(description="relevant documents per bin")
    irrelevant: list[int] = Field(description="best irrelevant documents per bin, one for each query")


class Report(_Part):
    """Everything that `report.html` shows, as `report.json` holds it."""

    format: Literal[1] = Field(default=1, description="number of this format")
    created: str = Field(description="ISO 8601, UTC")
    verdict: Verdict = Field(description="outcome of the comparison with the base model")
    reasons: list[str] = Field(description="reasons of the verdict, in sentences")
    judged_by: JudgedBy = Field(description="origin of the test queries")
    decided_on: str = Field(default=UNSEEN, description="name of the group on which the verdict rests")
    corpus: CorpusFacts = Field(description="name and size of the corpus")
    base: BaseModelFacts = Field(description="the model that had to be beaten")
    tuned: TunedModelFacts = Field(description="the tuned model: recipe and training steps")
    settings: dict[str, JsonValue] = Field(description="settings of the run")
    seconds: dict[str, float] = Field(description="stage → seconds")
    groups: dict[str, Group] = Field(min_length=1, description="group of test queries → its figures")
    fusion: Weights = Field(description="weight of the dense leg in hybrid search")
    changes: dict[Leg, list[float]] = Field(description="leg → nDCG@10 of tuned − base, one number per query")
    change_of: str = Field(default="hybrid nDCG@10", description="measure of gains and losses")
    gains: list[QueryChange] = Field(default=[], description="the queries that gained most, at most ten")
    losses: list[QueryChange] = Field(default=[], description="the queries that lost most, at most ten")
    curves: Curves = Field(default=Curves(), description="losses and dev scores during training")
    separation: dict[Which, Separation] = Field(default={}, description="model → histograms of cosines")
    relevance: Calibration | None = Field(
        default=None,
        description="relevance of the first results of hybrid search with the tuned model, beside the share that is right; "
        "null where it could not be calibrated",
    )
    notes: list[str] = Field(default=[], description="caveats for the reader, in sentences")

    @property
    def deciding(self) -> Group:
        """The group on which the verdict rests; the first group where a report has none of that name."""
        return self.groups.get(self.decided_on) or next(iter(self.groups.values()))


def read_report(folder: Path) -> Report:
    """Read `report.json` in ``folder``.

    Raises:
        ValidationError: it is no report of this format.
    """
    return Report.model_validate_json((folder / JSON_FILE).read_bytes())
