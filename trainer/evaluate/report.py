"""The report of a training run: what was measured, on what, and what was decided; `report.json` and `report.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from trainer.evaluate.significance import Difference

JSON_FILE = "report.json"
HTML_FILE = "report.html"

ALL = "all test queries"
UNSEEN = "queries whose documents were not trained on"
"""The group on which a verdict rests: trained documents are known to the tuned model and would flatter it."""

SYSTEMS = ("BM25", "base dense", "tuned dense", "base hybrid", "tuned hybrid")

MAX_TEXT = 400

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
    """What was searched."""

    name: str
    documents: int
    passages: int
    language: str


class BaseModelFacts(_Part):
    """The model that training started from."""

    id: str
    name: str


class Rung(_Part):
    """One rung of the ladder: a way of training that was tried, and kept only if the dev split agreed."""

    name: str
    kept: bool
    seconds: float
    dev_before: float | None = None
    dev_after: float | None = None


class TunedModelFacts(_Part):
    """What came out, and of what."""

    name: str
    recipe: dict[str, JsonValue]
    rungs: list[Rung] = []


class Summary(_Part):
    """Mean of a measure over the queries with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


class Group(_Part):
    """Figures over one set of queries."""

    queries: int
    systems: dict[str, dict[str, Summary]] = Field(description="system → measure → mean and interval")
    differences: dict[Leg, dict[str, Difference]] = Field(description="leg → measure → tuned − base, paired")


class Weights(_Part):
    """Weight of the dense leg in hybrid search with either model, and how it was found."""

    base: float
    tuned: float
    how: str


class Shown(_Part):
    """A document as the report shows it."""

    id: str
    title: str | None = None
    text: Annotated[str, AfterValidator(shorten)]


class QueryChange(_Part):
    """One query that gained or lost much: what it wanted, and what either model put first."""

    query_id: str
    query: Annotated[str, AfterValidator(shorten)]
    before: float
    after: float
    wanted: list[Shown]
    found_before: Shown | None
    found_after: Shown | None


class LossPoint(_Part):
    """The training loss at one step."""

    step: int
    seconds: float
    loss: float


class DevPoint(_Part):
    """The dev split's measure after one step or rung."""

    at: str | int = Field(description="number of the step, or name of the rung")
    value: float


class Curves(_Part):
    """What was logged while the model learned."""

    loss: list[LossPoint] = []
    dev: list[DevPoint] = []
    dev_measure: str = "nDCG@10"


class Separation(_Part):
    """Histograms of cosines with the query: of its relevant documents, and of its best document that is not."""

    edges: list[float] = Field(description="bounds of the bins, one more than there are bins")
    relevant: list[int] = Field(description="relevant documents per bin")
    irrelevant: list[int] = Field(description="best irrelevant documents per bin, one for each query")


class Report(_Part):
    """Everything that `report.html` shows, as `report.json` holds it."""

    format: Literal[1] = 1
    created: str = Field(description="ISO 8601, UTC")
    verdict: Verdict
    reasons: list[str] = Field(description="why, in sentences")
    judged_by: JudgedBy
    decided_on: str = Field(default=UNSEEN, description="name of the group on which the verdict rests")
    corpus: CorpusFacts
    base: BaseModelFacts
    tuned: TunedModelFacts
    settings: dict[str, JsonValue]
    seconds: dict[str, float] = Field(description="stage → seconds")
    groups: dict[str, Group] = Field(min_length=1)
    fusion: Weights
    changes: dict[Leg, list[float]] = Field(description="leg → nDCG@10 of tuned − base, one number per query")
    change_of: str = Field(default="hybrid nDCG@10", description="what gains and losses are in")
    gains: list[QueryChange] = []
    losses: list[QueryChange] = []
    curves: Curves = Curves()
    separation: dict[Which, Separation] = {}
    notes: list[str] = Field(default=[], description="what a reader should beware of, in sentences")

    @property
    def deciding(self) -> Group:
        """The group on which the verdict rests; the first one where a report has no group of that name."""
        return self.groups.get(self.decided_on) or next(iter(self.groups.values()))


def read_report(folder: Path) -> Report:
    """Read `report.json` in ``folder``; pydantic's `ValidationError` says what does not fit."""
    return Report.model_validate_json((folder / JSON_FILE).read_bytes())
