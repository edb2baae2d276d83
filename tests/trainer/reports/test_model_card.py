"""The model card is readable by the Hub, and has the figures of the report."""

from __future__ import annotations

import pytest
import yaml
from example_report import example_report
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from indexer.artifacts.manifest import EncoderContract
from trainer.evaluate.report import ALL, UNSEEN, BaseModelFacts, CorpusFacts, Rung, TunedModelFacts
from trainer.reports.model_card import model_card
from trainer.reports.plots import short

ENCODER = EncoderContract(
    dimension=384, max_tokens=256, pooling="mean", normalised=True, query_prompt="", document_prompt="", pad_token_id=0
)


@pytest.fixture(scope="module")
def report():
    """The report of a WIN."""
    return example_report()


def test_the_front_matter_is_the_hubs(report):
    """The Hub's own reader finds library, task, base model, language and the results that the report has."""
    card = ModelCard(model_card(report, ENCODER, licence="apache-2.0"))
    data = card.data
    assert data.library_name == "sentence-transformers"
    assert data.pipeline_tag == "sentence-similarity"
    assert data.base_model == report.base.name
    assert data.language == "en"
    assert data.license == "apache-2.0"
    results = {result.metric_name: result.metric_value for result in data.eval_results}
    expected = report.groups[UNSEEN].systems["tuned dense"]
    assert results == {name: round(summary.mean, 6) for name, summary in expected.items()}
    assert len(results) == 3
    assert {result.metric_type for result in data.eval_results} == set(data.metrics)


@pytest.mark.parametrize("language", ["none", "auto"])
def test_an_unknown_language_is_left_out(language):
    """A corpus without a known language gives a card without one: the Hub refuses other codes than ISO 639."""
    report = example_report(corpus=CorpusFacts(name="c", documents=1, passages=1, language=language))
    assert "language" not in yaml.safe_load(model_card(report, ENCODER).split("---")[1])


def test_before_and_after_stand_in_tables(report):
    """Both groups of queries have a table with every system and both differences."""
    text = model_card(report, ENCODER)
    html = MarkdownIt().enable("table").render(text.split("---\n", 2)[2])
    assert html.count("<table>") == 3  # two groups and the rungs
    for name in (ALL, UNSEEN):
        group = report.groups[name]
        assert f"{name}: {group.queries:,} queries" in html
        for system, figures in group.systems.items():
            assert f"<td>{system}</td>" in html
            assert short(figures["nDCG@10"].mean) in html
    assert html.count("tuned − base, hybrid") == 2
    assert "SentenceTransformer(" in html


def test_a_verdict_by_synthetic_queries_is_marked():
    """The card tells that the queries are synthetic, where they are, and has the notes of the report."""
    text = model_card(example_report(judged_by="synthetic queries", notes=["few queries"]), ENCODER)
    assert "queries are synthetic" in text
    assert "- few queries" in text
    assert "queries are synthetic" not in model_card(example_report(), ENCODER)


def test_prompts_are_named():
    """The card of a model with prompts has them."""
    text = model_card(
        example_report(), ENCODER.model_copy(update={"query_prompt": "query: ", "document_prompt": "passage: "})
    )
    assert "`query: `" in text and "`passage: `" in text


def test_markup_in_names_is_escaped():
    """YAML or Markdown in the name of a corpus or model stays plain text."""
    odd = "a: b\n---\n# <script>x</script> | *c*"
    report = example_report(
        base=BaseModelFacts(id="20261120T094420Z-5a6b7c8d", name=odd),
        corpus=CorpusFacts(name=odd, documents=1, passages=1, language="en"),
        tuned=TunedModelFacts(name=odd, recipe={odd: odd}, rungs=[Rung(name=odd, kept=True, seconds=1)]),
        reasons=[odd],
    )
    text = model_card(report, ENCODER)
    assert ModelCard(text).data.base_model == odd
    assert ModelCard(text).data.eval_results[0].dataset_type == odd
    html = MarkdownIt().enable("table").render(ModelCard(text).text)
    assert "<script>" not in html and "<em>" not in html
    assert html.count("<h1>") == 1
