"""Result of a comparison of bases: pydantic models of `compare.json`, and the table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from trainer.evaluate.report import Leg, Summary
from trainer.evaluate.significance import Difference


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)  # JSON has no NaN


class Cost(_Part):
    """What a model costs on this machine."""

    ms_query: float = Field(description="median milliseconds of a hybrid search in the sample, one at a time")
    ms_encode: float = Field(description="of these, milliseconds in which the query is encoded")
    documents_per_second: float = Field(description="documents of the sample that are encoded a second, on all cores")
    passages_per_document: float = Field(description="passages, and so vectors, of a document")
    vector_bytes: int = Field(description="bytes of a vector in the index")
    dimension: int = Field(description="length of a vector")
    max_tokens: int = Field(description="longest passage in tokens")
    parameters: int = Field(description="number of weights; 0 where it is unknown")


class BaseFigures(_Part):
    """One model that was compared."""

    id: str = Field(description="id of the model artifact")
    name: str = Field(description="name on the Hub, of its directory, or its id")
    licence: str = Field(description="licence as its card names it, or «unknown»")
    cost: Cost = Field(description="what it costs")
    within_budget: bool = Field(description="whether its milliseconds a query are within the limit (`--max-cost`)")
    sample: int = Field(description="documents on which it was compared; fewer where it was certainly worse before")
    scores: dict[Leg, Summary] = Field(description="leg → mean of the kinds by their weights, with its interval")
    figures: dict[str, dict[Leg, Summary]] = Field(description="kind of question → leg → mean and interval")
    differences: dict[str, dict[Leg, Difference]] = Field(
        description="kind of question → leg → difference to the default; empty for the default itself"
    )
    total: dict[Leg, Difference] = Field(
        description="leg → weighted mean of these differences; empty for the default itself"
    )


class BaseComparison(_Part):
    """Result of `trainer compare`."""

    created: str = Field(description="time, UTC")
    corpus: str = Field(description="the source")
    documents: int = Field(description="documents in the corpus")
    sample: int = Field(description="documents of the last and largest sample that was compared")
    rounds: list[int] = Field(description="documents of each sample, the smallest first")
    budget: str = Field(description="time for the comparison")
    language: str = Field(description="language of stemming and stop words")
    judged_by: str = Field(description="labels or synthetic queries")
    questions: dict[str, int] = Field(description="kind of question → how many were judged")
    weights: dict[str, float] = Field(description="kind of question → its weight in the vote")
    max_cost: float = Field(description="limit: milliseconds a query, as a multiple of the cheapest model's")
    default: str = Field(description="id of the model that is kept where nothing is better for certain")
    choice: str = Field(description="id of the model that is best")
    decided: bool = Field(description="whether the questions tell; if not, the choice is the default")
    reasons: list[str] = Field(description="why")
    models: list[BaseFigures] = Field(description="the models, in the order in which they were named")

    @property
    def chosen(self) -> BaseFigures:
        """The model that is best."""
        return next(model for model in self.models if model.id == self.choice)


COLUMNS = ("model", "dense", "hybrid", "ms/query", "documents/s", "bytes/vector", "dimension", "licence", "")


def rows_of(result: BaseComparison) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row for each model, as `COLUMNS` names them."""
    return [
        (
            model.name,
            _interval(model.scores, "dense"),
            _interval(model.scores, "hybrid"),
            f"{model.cost.ms_query:.1f}",
            f"{model.cost.documents_per_second:,.0f}",
            f"{model.cost.vector_bytes:,}",
            str(model.cost.dimension),
            model.licence,
            _remark(result, model),
        )
        for model in result.models
    ]


def table(result: BaseComparison) -> list[str]:
    """Return the table as lines of text."""
    cells = [COLUMNS, *rows_of(result)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _interval(scores: Mapping[Leg, Summary], leg: Leg) -> str:
    figure = scores[leg]
    return f"{figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _remark(result: BaseComparison, model: BaseFigures) -> str:
    remarks = ["best" if result.decided else "kept"] if model.id == result.choice else []
    remarks += ["default"] if model.id == result.default and model.id != result.choice else []
    remarks += [] if model.within_budget else ["over the limit"]
    remarks += [f"left out after {model.sample:,} documents"] if model.sample < result.sample else []
    return ", ".join(remarks)
