"""What `POST /classify` takes and gives."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

LONGEST_TEXT = 10_000
MOST_TEXTS = 64

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_TEXT)]

SPAM: dict[str, JsonValue] = {"label": "spam", "probability": 0.994}
HAM: dict[str, JsonValue] = {"label": "ham", "probability": 0.006}
CLASSIFIER: dict[str, JsonValue] = {
    "id": "20261121T150101Z-3c4d5e6f",
    "labels": ["ham", "spam"],
    "multi_label": False,
    "max_tokens": 128,
    "macro_f1": 0.981,
}


class ClassifyRequest(BaseModel):
    """Body of `POST /classify`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"texts": ["WINNER! Text CASH to 80082 to claim your prize"]},
                {"texts": ["See you at eight?", "Free entry, text WIN now"], "top_k": 1},
            ]
        },
    )
    texts: list[Text] = Field(
        min_length=1,
        max_length=MOST_TEXTS,
        description=f"1 to {MOST_TEXTS} texts, of at most {LONGEST_TEXT:,} characters each; what lies beyond the "
        "classifier's `max_tokens` is not read",
    )
    top_k: int = Field(
        default=10, ge=1, le=1000, description="number of labels in `probabilities` of each text, the most probable"
    )


class LabelProbability(BaseModel):
    """A label and how probable it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [SPAM]})
    label: str = Field(description="the label")
    probability: float = Field(description="calibrated: of the answers with .9, nine in ten are right")


class Classified(BaseModel):
    """The answer about one text."""

    labels: list[LabelProbability] = Field(
        description="the labels that apply, the most probable first: exactly one, or with a classifier of several "
        "labels those that reach their thresholds, perhaps none"
    )
    probabilities: list[LabelProbability] = Field(
        description="the `top_k` most probable labels, whether they apply or not"
    )


class ClassifierFacts(BaseModel):
    """The classifier that answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [CLASSIFIER]})
    id: str = Field(description="id of the classifier")
    labels: list[str] = Field(description="the labels that it knows")
    multi_label: bool = Field(description="whether several labels, or none, may apply to a text")
    max_tokens: int = Field(description="tokens of a text that it reads")
    macro_f1: float | None = Field(description="macro-F1 on its test rows; null where that was not measured")


class ClassifyResponse(BaseModel):
    """Answer of `POST /classify`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "results": [{"labels": [SPAM], "probabilities": [SPAM, HAM]}],
                    "classifier": CLASSIFIER,
                    "took_ms": 4.7,
                    "request_id": "0f8fad5bd9cb469fa16570867728950e",
                }
            ]
        }
    )
    results: list[Classified] = Field(description="one for each text, in their order")
    classifier: ClassifierFacts = Field(description="the classifier that answered")
    took_ms: float = Field(description="milliseconds from the start of the work to the finished answer")
    request_id: str = Field(description="as in the header X-Request-ID and in the log")
