"""Completion prompts for base models: examples from the corpus, and what of a continuation is a query."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_llm import FaultyLLM, write_frame
from tiny_llama import make_tiny_llama

from trainer.data.frame import FrameRow
from trainer.queries.generate import generate
from trainer.queries.llm.prompts import PromptPlan, Shot, Task, read_reply
from trainer.queries.llm.shots import MAX_SHOTS, MAX_WORDS, make_shots
from trainer.queries.settings import QueriesSettings

SUBJECTS = ("lighthouse", "granary", "observatory", "orchard", "tannery", "foundry", "library", "aqueduct")


def rows(count: int = 40, *, titles: bool = True) -> list[FrameRow]:
    """Return rows of three sentences about a subject each."""
    return [
        FrameRow(
            number, f"d{number}", f"d{number}", f"The old {subject} {number}" if titles else None,
            f"Keepers of the {subject} {number} painted its northern wall. Visitors seldom climb the {subject} stairs in "
            f"winter. A flood damaged cellar {number} twice.",
        )
        for number, subject in ((number, SUBJECTS[number % len(SUBJECTS)]) for number in range(count))
    ]  # fmt: skip


@pytest.mark.parametrize("titles", [True, False])
def test_shots_are_texts_of_the_corpus_with_queries_for_them(titles: bool) -> None:
    """Title, key words and a sentence stand for queries; the sentence is not in the text any more."""
    shots = make_shots(rows(titles=titles), "en", 0)
    assert len(shots) == MAX_SHOTS
    kinds = {len(shot.queries) for shot in shots}
    assert min(kinds) >= 2
    assert any(query.startswith("The old") for shot in shots for query in shot.queries) == titles
    for shot in shots:
        for query in shot.queries:
            assert 2 <= len(query.split()) <= MAX_WORDS
            assert not query.endswith(".") or query not in shot.text
    assert shots == make_shots(rows(titles=titles), "en", 0)


def test_a_prompt_ends_where_the_queries_of_the_passage_begin() -> None:
    """Three shots and then the passage in the same form; a document is no example for itself, and rows differ."""
    shots = tuple(Shot(f"Text of number {number}.", (f"query {number}", "another")) for number in range(9))
    plan = PromptPlan(3, ("search",), (), 0, shots)
    prompt = plan.task("a", "Title", "The passage itself.", "en").completion()
    assert prompt.count("Text:") == prompt.count("Searches:") == 4
    assert prompt.endswith("Text: Title. The passage itself.\nSearches:\n-")
    assert len({plan.task(f"row{number}", None, "x", "en").shots for number in range(20)}) > 5
    own = PromptPlan(3, ("search",), (), 0, shots[:1]).task("a", None, "Text of number 0. And more.", "en")
    assert own.shots == ()
    assert PromptPlan(3, ("search",), (), 0).wording() != plan.wording()


def test_what_of_a_continuation_is_a_query() -> None:
    """Lines up to a text of the model's own; copies, examples, other languages and fragments are dropped and counted."""
    text = "Keepers of the lighthouse painted its northern wall in the spring of the year after the great flood."
    shots = (Shot("Other.", ("old granary", "mill")),)
    task = Task("a", None, text, "en", ("search",) * 5, shots=shots)
    raw = (
        " who painted the lighthouse\n- Old granary\n- of\n"
        "- Keepers of the lighthouse painted its northern wall in the spring\n"
        "- ¿Quién pintó la pared del norte del viejo faro después de la gran inundación?\n"
        "- northern wall paint\n\nText: Something else\nSearches:\n- something else"
    )
    answer = read_reply(raw, task, completes=True)
    assert [query for _, query in answer.queries] == ["who painted the lighthouse", "northern wall paint"]
    assert answer.dropped == {"duplicate": 1, "too_short": 1, "copy": 1, "language": 1}


def test_auto_takes_completion_where_there_is_no_chat_template(tmp_path: Path) -> None:
    """A base model in this process continues examples; one with a template is instructed; an endpoint is told."""
    base = QueriesSettings(llm_path=str(make_tiny_llama(tmp_path / "base", template=None)))
    chat = QueriesSettings(llm_path=str(make_tiny_llama(tmp_path / "chat")))
    assert base.completes and not chat.completes
    assert not base.model_copy(update={"llm_prompt": "chat"}).completes
    assert chat.model_copy(update={"llm_prompt": "completion"}).completes
    assert not QueriesSettings(llm_model="x").completes
    assert base.longest_answer < chat.longest_answer


def test_a_base_model_in_this_process(tmp_path: Path) -> None:
    """It is asked by completion and journalled; a second start asks nothing."""
    model = make_tiny_llama(tmp_path / "base", template=None)
    frame = write_frame(tmp_path / "frame.parquet", 5)
    settings = QueriesSettings(llm_path=str(model), max_tokens=16, count=3)
    summary = generate(frame, settings, documents=["d1", "d3"])
    assert (summary.rows, summary.chosen, summary.asked) == (5, 2, 2)
    assert generate(frame, settings, documents=["d1", "d3"]).resumed == 2


def test_a_base_model_behind_an_endpoint(tmp_path: Path) -> None:
    """`--llm-prompt completion` sends the examples as a prompt to /completions, and reads the text that continues it."""
    frame = write_frame(tmp_path / "frame.parquet", 4)
    with FaultyLLM() as llm:
        summary = generate(frame, QueriesSettings(llm=llm.url, llm_prompt="completion", count=2))
    assert (summary.asked, summary.complete, summary.queries) == (4, 4, 8)
    for body in llm.bodies:
        assert body["prompt"].endswith("Searches:\n-") and "\n\n" in body["stop"]
        assert "messages" not in body and "response_format" not in body
