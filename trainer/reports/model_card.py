"""Model card: README.md of a tuned model in the Hub's format, with the figures of the report."""

from __future__ import annotations

from collections.abc import Iterable

from huggingface_hub import EvalResult, ModelCardData

from indexer.artifacts.manifest import EncoderContract
from trainer.evaluate.metrics import METRICS
from trainer.evaluate.report import Report
from trainer.reports.page import interval, p_value, plain_name, signed, value
from trainer.reports.plots import short

HUB_METRICS = {"nDCG@10": "cosine_ndcg@10", "MRR@10": "cosine_mrr@10", "Recall@100": "cosine_recall@100"}
"""Our name of a metric → the Hub's. Hybrid figures measure a system around the model, and stay out of the front matter."""

MEANING = (
    "Mean and 95 % bootstrap interval over the queries; p of a two-sided paired randomisation test. "
    "BM25 and hybrid are Dowse's own retrieval around the model."
)

USE = """```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/directory")
queries = model.encode_query(["what somebody is looking for"])
documents = model.encode_document(["one text", "another text"])
print(model.similarity(queries, documents))
```"""


def model_card(report: Report, encoder: EncoderContract, licence: str | None = None) -> str:
    """Return the text of README.md: front matter for the Hub, use, training, before and after, limits.

    Args:
        report: of the run that made the model.
        encoder: the model's contract, for its dimension and lengths.
        licence: SPDX id of the base model's licence, where it is known; it holds for the tuned model too.
    """
    parts = [
        f"---\n{_front_matter(report, licence)}\n---",
        f"# {_line(report.tuned.name)}",
        _origin(report),
        _bullets(report.reasons),
        "## How to use it",
        _contract(encoder),
        USE,
        "The same encoder is in `onnx/model.onnx`: tokens in, finished vectors out.",
        "## Before and after",
        *_tables(report),
        f"{MEANING} The verdict rests on the group “{report.decided_on}”.",
        "## How it was trained",
        _bullets(f"{plain_name(name)}: {value(setting)}" for name, setting in report.tuned.recipe.items()),
        _rungs(report),
        "## Limits",
        _bullets(_limits(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(report: Report, licence: str | None) -> str:
    dense = report.deciding.systems.get("tuned dense", {})
    results = [
        EvalResult(
            task_type="information-retrieval",
            task_name="Information Retrieval",
            dataset_type=report.corpus.name,
            dataset_name=f"{report.corpus.name}, {report.decided_on}",
            metric_type=HUB_METRICS[name],
            metric_name=name,
            metric_value=round(dense[name].mean, 6),
        )
        for name in METRICS
        if name in dense
    ]
    language = report.corpus.language
    return str(
        ModelCardData(
            # The Hub takes ISO 639 codes alone; `none` and `auto` are none.
            language=language if len(language) in {2, 3} else None,
            license=licence,
            library_name="sentence-transformers",
            pipeline_tag="sentence-similarity",
            tags=["sentence-transformers", "sentence-similarity", "feature-extraction", "dense", "dowse"],
            base_model=report.base.name,
            model_name=report.tuned.name,
            metrics=list(HUB_METRICS.values()),
            eval_results=results or None,
        ).to_yaml(line_break="\n")
    ).strip()


def _origin(report: Report) -> str:
    corpus = report.corpus
    return (
        f"{_line(report.base.name)}, tuned by Dowse on the corpus “{_line(corpus.name)}” ({corpus.documents:,} documents, "
        f"language {_line(corpus.language)}). Verdict of the evaluation: **{report.verdict}**, judged by {report.judged_by}."
    )


def _contract(encoder: EncoderContract) -> str:
    text = (
        f"Texts become vectors of {encoder.dimension} dimensions ({encoder.pooling} pooling"
        f"{', unit length' if encoder.normalised else ''}); longer texts are cut after {encoder.max_tokens} tokens. "
    )
    if not encoder.query_prompt and not encoder.document_prompt:
        return text + "It needs no prompts."
    return text + (
        f"`encode_query` puts `{encoder.query_prompt}` before a query, "
        f"`encode_document` puts `{encoder.document_prompt}` before a document."
    )


def _tables(report: Report) -> list[str]:
    parts = []
    for name, group in report.groups.items():
        rows = [
            f"| {name}: {group.queries:,} queries | " + " | ".join(METRICS) + " |",
            "|---|" + "---|" * len(METRICS),
        ]
        for system, figures in group.systems.items():
            cells = [f"{short(figures[metric].mean)} {interval(figures[metric])}" for metric in METRICS]
            rows.append(f"| {system} | " + " | ".join(cells) + " |")
        for leg, differences in group.differences.items():
            cells = [f"{signed(differences[metric].mean)} ({p_value(differences[metric].p)})" for metric in METRICS]
            rows.append(f"| **tuned − base, {leg}** | " + " | ".join(cells) + " |")
        parts.append("\n".join(rows).replace("\N{NO-BREAK SPACE}", " "))
    return parts


def _rungs(report: Report) -> str:
    if not report.tuned.rungs:
        return ""
    rows = ["| rung | dev before | dev after | kept |", "|---|---|---|---|"]
    for rung in report.tuned.rungs:
        before, after = (short(score) if score is not None else "–" for score in (rung.dev_before, rung.dev_after))
        rows.append(f"| {_line(rung.name)} | {before} | {after} | {'yes' if rung.kept else 'no'} |")
    return "\n".join(rows)


def _limits(report: Report) -> list[str]:
    limits = [
        f"It was tuned and measured on the corpus {report.corpus.name} alone; elsewhere its base model may be better.",
        "Vectors of this model and of its base model are not comparable: an index has to be built with this one.",
    ]
    if report.judged_by != "labels":
        limits.append(
            "There were no human judgements: the evaluation queries are synthetic, and real users search differently."
        )
    return limits + report.notes


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {_line(sentence)}" for sentence in sentences)


def _line(text: str) -> str:
    """Return foreign text as one line of Markdown, with all markup escaped."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in " ".join(text.split()))
