"""Answers of models in many forms are parsed, and what is no query is dropped with its reason."""

from __future__ import annotations

import json
import random

import pytest

from trainer.queries.llm.parse import KINDS, clean, count_words, kind_of, outcome, parse, read

PASSAGE = (
    "Blue Ridge Dairy ripens its goat cheese in a cave below Mount Mitchell. The cave was dug in 1891 by miners, who "
    "looked for mica and found none. Visitors come on Saturdays."
)
COMPLETE = {
    "question": "Where does Blue Ridge Dairy ripen goat cheese?",
    "claim": "Miners dug the cheese cave in 1891",
    "title": "A mica mine that became a cheese cave",
    "keywords": "goat cheese, cave, Mount Mitchell",
    "search": "cheese cave visit saturday",
}
EXPECTED = list(COMPLETE.items())


def lines(**labels: str) -> str:
    """Return the whole answer as lines that begin with the given labels."""
    return "\n".join(f"{labels.get(kind, kind)}: {query}" for kind, query in COMPLETE.items())


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(COMPLETE),
        json.dumps(COMPLETE, indent=2),
        "```json\n" + json.dumps(COMPLETE, indent=2) + "\n```",
        "Here are the 5 queries you asked for:\n\n" + json.dumps(COMPLETE) + "\n\nI hope this helps!",
        "<think>The user wants JSON {maybe}.</think>\n" + json.dumps(COMPLETE),
        "I think about it.\n</think>\n" + json.dumps(COMPLETE),
        json.dumps({"queries": [{"kind": kind, "query": query} for kind, query in COMPLETE.items()]}),
        json.dumps({"queries": [{"type": kind.title(), "text": query} for kind, query in COMPLETE.items()]}),
        "\n".join(json.dumps({"kind": kind, "query": query}) for kind, query in COMPLETE.items()),
        json.dumps({kind: [query] for kind, query in COMPLETE.items()}),
        json.dumps({**COMPLETE, "keywords": ["goat cheese", "cave", "Mount Mitchell"]}),
        json.dumps(list(COMPLETE.values())),
        json.dumps({"queries": list(COMPLETE.values())}),
        json.dumps({**COMPLETE, "answer": "In a cave", "explanation": "It says so in the first sentence."}),
        lines(),
        lines(question="**Question**", claim="- Claim", title="3. Title", keywords="Key words", search="Search query"),
        "Sure! Here they are:\n" + lines() + "\nLet me know if you need more.",
        "\n\n".join(f"{number}. {query}" for number, query in enumerate(COMPLETE.values(), 1)),
        "\n".join(f'* "{query}"' for query in COMPLETE.values()),
        "\n".join(f"**{kind.upper()}:**\n- {query}" for kind, query in COMPLETE.items()),
    ],
)
def test_all_shapes_give_the_same_queries(raw: str) -> None:
    """JSON in any structure, fenced, introduced or after thoughts, and lines with any markers, give all queries and kinds."""
    answer = read(raw, KINDS, PASSAGE)
    assert answer.queries == EXPECTED
    assert set(answer.dropped) <= {"preamble"}


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("indent", [None, 2])
def test_half_a_json_gives_its_whole_queries(share: float, indent: int | None) -> None:
    """An answer that was cut off keeps every query that is complete and none that is cut short."""
    raw = json.dumps(COMPLETE, indent=indent)
    raw = raw[: int(len(raw) * share)]
    kept = read(raw, KINDS, PASSAGE).queries
    assert kept == [pair for pair in EXPECTED if f'"{pair[1]}"' in raw]
    assert share < 0.4 or kept


def test_json_with_an_unescaped_quotation_mark() -> None:
    """A model that forgets a backslash loses nothing."""
    raw = '{"question": "What is the "Blue Ridge" cave for?", "claim": "Miners dug it"}'
    expected = [("question", 'What is the "Blue Ridge" cave for?'), ("claim", "Miners dug it")]
    assert read(raw, KINDS, PASSAGE).queries == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "  \n ",
        '{\n "answer": "In a cave",\n "reason": "It says so."\n}',
        "[]",
        "{}",
        '{"queries": []}',
        "[5, null]",
        "```json\n[]\n```",
        "<think>Hm",
        '{"question": "Whe',
    ],
)
def test_nothing_in_it(raw: str) -> None:
    """An answer without a query gives none: its brackets are no query either."""
    assert read(raw, KINDS, PASSAGE).queries == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1. cheese cave", "cheese cave"),
        ("(2) cheese cave", "cheese cave"),
        ("• “cheese cave”", "cheese cave"),
        ("- **cheese cave**", "cheese cave"),
        ("Q3: cheese cave", "cheese cave"),
        ("«cheese cave»", "cheese cave"),
        ("„cheese cave“", "cheese cave"),
        ("`cheese cave`", "cheese cave"),
        ('"cheese cave",', "cheese cave"),
        ("a) cheese cave", "cheese cave"),
        ("Here is a question: cheese cave", "cheese cave"),
        ("cheese\x03 \u200bcave\n", "cheese cave"),
        ("cheese cave \ud83d", "cheese cave"),
        ("1891 mica mine", "1891 mica mine"),
        ("3.5 mm jack", "3.5 mm jack"),
        ('"cheese" or "mica"', '"cheese" or "mica"'),
        ("A. Lincoln's dairy", "A. Lincoln's dairy"),
        ("miners' cheese", "miners' cheese"),
        ("cheese: how it ripens", "cheese: how it ripens"),
    ],
)
def test_wrapping_is_stripped_and_nothing_else(written: str, meant: str) -> None:
    """Numbering, bullets, quotes and labels go; numbers, initials and quotes that belong to the query stay."""
    assert read(json.dumps({"question": written}), ["question"], PASSAGE).queries == [("question", meant)]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("Here are five search queries:", "preamble"),
        ("Sure, I can help with that.", "preamble"),
        ("I'm sorry, but I cannot write queries.", "preamble"),
        ("Aquí están las consultas:", "preamble"),
        ("…?!", "blank"),
        ("", "blank"),
        ("cave \ufffd\ufffd", "garbled"),
        (" ".join(f"word{number}" for number in range(65)), "too_long"),
        ("漢" * 65, "too_long"),
        ("The cave was dug in 1891 by miners, who looked for mica", "copy"),
        ("the cave was dug in 1891 BY MINERS who looked", "copy"),
        (PASSAGE, "copy"),
    ],
)
def test_what_is_no_query_is_dropped_with_its_reason(written: str, reason: str) -> None:
    """Every piece of an answer is either kept or counted under the reason why it is not."""
    assert read(json.dumps([written]), KINDS, PASSAGE) == ([], {reason: 1})


def test_a_phrase_of_the_passage_may_be_searched_for() -> None:
    """Only long copies are refused: key words and names have to stand in the passage."""
    assert read('["goat cheese in a cave"]', ["title"], PASSAGE).queries


def test_a_short_passage_as_a_whole_is_a_copy() -> None:
    """A passage of three words is no query for itself."""
    assert read('["Miners found none."]', KINDS, "miners found none").dropped == {"copy": 1}


def test_the_longest_query_is_kept() -> None:
    """The bound is inclusive, in words or, in scripts without spaces, in characters."""
    longest = " ".join(f"word{number}" for number in range(64))
    assert count_words("漢" * 64) == count_words(longest) == 64
    assert read(json.dumps([longest, "漢" * 64]), KINDS, PASSAGE).queries[1][1] == "漢" * 64


def test_duplicates_are_found_whatever_their_case_and_punctuation() -> None:
    """«Cheese cave?» and «cheese CAVE» are one query."""
    answer = read(json.dumps({"question": "Cheese cave?", "claim": "«cheese CAVE»", "title": "mica"}), KINDS, PASSAGE)
    assert answer == ([("question", "Cheese cave?"), ("title", "mica")], {"duplicate": 1})


def test_more_than_were_asked_for() -> None:
    """Surplus queries are dropped, and those of the requested kind are preferred."""
    raw = json.dumps({"title": "mica mine", "claim": "the cave is old", "question": "how old is the cave"})
    assert read(raw, ["question"], PASSAGE) == ([("question", "how old is the cave")], {"surplus": 2})


def test_a_query_of_another_kind_fills_a_free_slot_under_its_own_name() -> None:
    """Kept queries are labelled with their actual kind, not with the requested one."""
    raw = json.dumps({"question": "how old is the cave", "question_2": "who dug the cave"})
    assert read(raw, ["question", "claim"], PASSAGE).queries == [
        ("question", "how old is the cave"),
        ("question", "who dug the cave"),
    ]


def test_unlabelled_queries_take_the_slots_in_order() -> None:
    """A bare list is read in the order of the requested kinds."""
    kinds = [kind for kind, _ in clean(parse("one cave\ntwo caves\nthree caves"), KINDS, PASSAGE).queries]
    assert kinds == ["question", "claim", "title"]


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Question 2", "question"),
        ("QUESTIONS", "question"),
        ("**claim_3**", "claim"),
        ("Key-words", "keywords"),
        ("key phrases", "keywords"),
        ("Search queries", "search"),
        ("Q", "question"),
        ("Title insurance", None),
        ("query", None),
        ("", None),
    ],
)
def test_labels(label: str, kind: str | None) -> None:
    """Labels are understood in the spellings that models use, and words that only begin alike are not labels."""
    assert kind_of(label) == kind


def test_outcome() -> None:
    """Five is a target: fewer are underfilled, none is empty."""
    assert [outcome(kept, 5) for kept in (5, 4, 1, 0)] == ["complete", "underfilled", "underfilled", "empty"]


def test_no_answer_breaks_the_reader() -> None:
    """Whatever a model writes is read in bounded time: shuffled pieces of JSON, and very deep or very long answers."""
    rng = random.Random(3)
    pieces = [
        *'{}[]":,\\\n',
        "question",
        "claim",
        '"a b"',
        "```json",
        "1. ",
        "Here are",
        "<think>",
        "\ud83d",
        "ñ",
    ]
    for _ in range(2000):
        raw = "".join(rng.choices(pieces, k=rng.randrange(40)))
        answer = read(raw, KINDS, PASSAGE)
        assert len(answer.queries) <= 5
        assert all(kind in KINDS and query.strip() for kind, query in answer.queries)
    for raw in ("[" * 100_000, '"' * 100_000, "{" + '"a":' * 50_000, "**" * 50_000, "1. " * 50_000, "- \n" * 50_000):
        assert len(read(raw, KINDS, PASSAGE).queries) <= 1
