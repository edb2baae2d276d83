"""What a pre-training measured: `report.json` for programs, `report.html` for people."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field

from indexer.progress import clock
from trainer.files import whole
from trainer.pretrain.pretrain_watch import Figures
from trainer.pretrain.report_page import plots
from trainer.reports.page import HERE, plain_name, value
from trainer.reports.plots import Plot, short

FORMAT = 1
FOLDER = "report"
PREFIX = "held_out_"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusFacts(_Part):
    """What was learned from, and what was held out."""

    name: str = Field(description="the source")
    documents: int = Field(description="training documents")
    held_out_documents: int = Field(description="documents that nothing was learned from")
    tokens: int = Field(description="tokens of the training documents")
    held_out_tokens: int = Field(description="tokens of the held-out documents")
    vocabulary: int = Field(description="pieces of the tokenizer")


class ModelFacts(_Part):
    """What was trained."""

    start: str | None = Field(description="the checkpoint that it went on from; null for a new model")
    architecture: str = Field(description="class of transformers")
    parameters: int = Field(description="weights")
    layers: int = Field(description="layers")
    hidden: int = Field(description="width")
    heads: int = Field(description="heads of attention")
    max_length: int = Field(description="longest input in tokens")


class WorkFacts(_Part):
    """What it took."""

    device: str = Field(description="what computed")
    processes: int = Field(description="how many processes")
    steps: int = Field(description="steps of the optimizer")
    tokens: int = Field(description="tokens seen, special ones included and padding not")
    seconds: float = Field(description="time of the training, with measuring and saving")
    tokens_per_second: float = Field(description="tokens by seconds of training, without measuring")
    peak_share: float | None = Field(
        description="floating-point operations by what the GPU could do (dense bf16); null where that is not known"
    )


class Point(_Part):
    """A measurement on the sample of held-out documents."""

    step: int = Field(description="steps that were done")
    seconds: float = Field(description="time that had gone")
    tokens: int = Field(description="tokens that had been seen")
    figures: Figures = Field(description="what was measured")


class Loss(_Part):
    """Training losses, the mean since the point before."""

    step: int = Field(description="steps that were done")
    seconds: float = Field(description="time that had gone")
    tokens: int = Field(description="tokens that had been seen")
    mlm: float = Field(description="loss of masked words, nats")
    nsp: float | None = Field(default=None, description="loss of the next sentence, nats; null without it")


class PretrainReport(_Part):
    """A pre-training as a whole."""

    format: int = Field(default=FORMAT, description="version of this file's form")
    created: str = Field(description="time, ISO 8601, UTC")
    corpus: CorpusFacts = Field(description="what was learned from")
    model: ModelFacts = Field(description="what was trained")
    work: WorkFacts = Field(description="what it took")
    settings: dict[str, Any] = Field(description="the command's settings")
    result: Figures = Field(description="the trained model on all held-out documents, twice, paired and masked anew")
    held_out: list[Point] = Field(description="the model in training, on a sample of them")
    losses: list[Loss] = Field(description="training losses")

    @property
    def gain(self) -> float:
        """How many nats better than the unigram distribution the trained model is."""
        return self.result.unigram_loss - self.result.mlm_loss

    @property
    def masked_gain(self) -> float:
        """The same where [MASK] stands; the unigram loss is that of all chosen positions."""
        return self.result.unigram_loss - self.result.masked_loss


def curves(log: Sequence[dict[str, float]]) -> tuple[list[Point], list[Loss]]:
    """Return what the lines of a log say of held-out documents and of the training losses."""
    points, losses = [], []
    for line in log:
        head: dict[str, Any] = {name: line[name] for name in ("step", "seconds", "tokens")}
        measured = {
            name: line.get(PREFIX + name) for name in Figures.model_fields if PREFIX + name in line or "nsp" in name
        }
        if PREFIX + "mlm_loss" in line:
            points.append(Point(**head, figures=Figures.model_validate(measured)))
        else:
            losses.append(Loss(**head, mlm=line["mlm"], nsp=line.get("nsp")))
    return points, losses


def now() -> str:
    """Return the time as the report has it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def write_report(report: PretrainReport, folder: Path) -> None:
    """Write both files into ``folder``, each whole or not at all."""
    with whole(folder / "report.json") as part:
        part.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with whole(folder / "report.html") as part:
        part.write_text(page(report), encoding="utf-8")


def page(report: PretrainReport) -> str:
    """Return the report as one page that needs no other file, no network and no script."""
    style = (HERE / "report.css").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"short": short, "clock": clock, "value": value, "plain": plain_name}
    template = environment.from_string(Path(__file__).with_name("pretrain_template.html").read_text(encoding="utf-8"))
    drawn: list[Plot] = plots(report)
    return template.render(
        report=report,
        start=report.held_out[0].figures if report.held_out else None,
        coin=math.log(2),
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        plots=[(plot, Markup(plot.svg)) for plot in drawn],  # noqa: S704 - every text went through an XML writer
    )
