"""Parser of a language model's answers: JSON, incomplete JSON or lines become clean queries.

Models number their answers, quote them, introduce them, repeat themselves and copy the passage. Every candidate that is
dropped is counted with its reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from indexer.inference.llm.client import Outcome

KINDS = ("question", "claim", "title", "keywords", "search")
"""Kinds of query that a model can write."""

MAX_QUERY_WORDS = 64  # words
MAX_ANSWER_CHARACTERS = 20_000  # longer answers are cut
MIN_QUERY_CHARACTERS = 3  # where a character is no word
MIN_COPY_WORDS = 8  # words; shorter phrases of the passage are common queries
MAX_COPIED = 0.8  # share of a query's sequences of three words
MIN_LANGUAGE_CHARACTERS = 60

_OPENING = re.compile(r"(?:^|:|```(?:json)?)\s*(?=[\[{])", re.MULTILINE | re.IGNORECASE)
_STRING = re.compile(r'"((?:\\.|[^\\])*?)"\s*(?=([:,\]}\n]|\Z))', re.DOTALL)
_KIND = re.compile(
    r"(?:(q|question)|(claim)|(title)|(key ?word|key ?phrase)|(search|search quer(?:y|ie)|free search))s?"
)
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"(?:[-*•–—>#]+|\(?\d{1,2}[.):]|[Qq]\d{0,2}[.:)]|\(?[a-z]\))\s+")
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "»": "«", "‘": "’", "「": "」", "`": "`"}
_PREAMBLE = re.compile(
    r"here(?:['’]s| is| are)\b[^:]*\b(?:quer|question|search|keyword|title|claim|json|list)[^:]*(?::|$)"
    r"|(?:sure|certainly|of course|absolutely|okay|ok)\b\s*[,!.:]"
    r"|(?:i hope|let me know|i['’]m sorry|i am sorry|as an ai|i cannot|i can['’]t)\b",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\ud800-\udfff\u2028\u2029\ufeff]")
_CHARACTER_WORD = (
    r"\u3040-\u30ff\u3400-\u9fff"  # kana and Han: scripts without spaces, where a character counts as a word
)
_WORD = re.compile(rf"[{_CHARACTER_WORD}]|[^\W{_CHARACTER_WORD}]+")
_NO_QUERY = {"answer", "answers", "explanation", "reason", "language", "passage", "id"}
_LABELS = {"kind", "type", "category"}


class Candidate(NamedTuple):
    """A piece of an answer that may be a query, and the kind of its label."""

    kind: str | None
    text: str


class Answer(NamedTuple):
    """Kept (kind, query) pairs, and the number of dropped candidates by reason."""

    queries: list[tuple[str, str]]
    dropped: Counter[str]


def read(raw: str, slots: Sequence[str], passage: str, language: str = "none", known: Iterable[str] = ()) -> Answer:
    """Return the queries of a raw answer.

    Args:
        raw: the answer.
        slots: the requested kinds, in order.
        passage: what the queries should be about.
        language: ISO 639-1 code of the passage; long queries in another one are dropped. ``none`` drops none.
        known: queries that the prompt had as examples; they are no queries for this passage.
    """
    return clean(parse(raw), slots, passage, language, known)


def outcome(kept: int, requested: int) -> Outcome:
    """Return the outcome of an answer with ``kept`` of ``requested`` queries."""
    if kept >= requested:
        return "complete"
    return "underfilled" if kept else "empty"


def parse(raw: str) -> list[Candidate]:
    """Return the candidates of a raw answer, in order: from JSON, also incomplete, else from its lines."""
    text = _THOUGHT.sub("", raw[:MAX_ANSWER_CHARACTERS])
    text = text.rpartition("</think>")[2]  # some chat templates open the thought before the answer
    candidates: list[Candidate] = []
    opening = _OPENING.search(text)
    complete = opening is not None
    while opening:
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(text, opening.end())
        except (ValueError, RecursionError):
            candidates += _salvage(text[opening.end() :])
            complete = False
            break
        candidates += _flatten(value, None)
        opening = _OPENING.search(text, end)
    return candidates if candidates or complete else list(_read_lines(text))


def clean(
    candidates: Sequence[Candidate],
    slots: Sequence[str],
    passage: str,
    language: str = "none",
    known: Iterable[str] = (),
) -> Answer:
    """Drop candidates that are no queries, and give each other one a slot: of its own kind, or else a free one.

    Reasons of a drop: ``preamble``, ``blank``, ``garbled`` (replacement characters), ``too_long``, ``duplicate`` (after case
    folding), ``too_short`` (two letters or fewer), ``copy`` (a long part of the passage, word for word or nearly so), ``language``
    (another one than that of the passage) and ``surplus`` (more than were requested).
    """
    dropped: Counter[str] = Counter()
    kept: list[Candidate] = []
    seen = {_key(query) for query in known}
    source = _key(passage)
    for candidate in candidates:
        text, reason = _unwrap(candidate.text)
        key = _key(text)
        reason = reason or _drop_reason(key, source, seen) or _other_language(text, language)
        if reason:
            dropped[reason] += 1
        else:
            seen.add(key)
            kept.append(Candidate(candidate.kind, text))
    free = list(range(len(slots)))
    queries: dict[int, tuple[str, str]] = {}
    for exact in (True, False):
        for candidate in list(kept):
            slot = next((slot for slot in free if not exact or slots[slot] == candidate.kind), None)
            if slot is not None:
                free.remove(slot)
                kept.remove(candidate)
                queries[slot] = (candidate.kind or slots[slot], candidate.text)
    if kept:
        dropped["surplus"] += len(kept)
    return Answer([queries[slot] for slot in sorted(queries)], dropped)


def kind_of(label: str) -> str | None:
    """Return the kind that a model's label means, such as ``Question 2``, or None."""
    match = _KIND.fullmatch(re.sub(r"[\W\d_]+", " ", label).strip().casefold())
    return KINDS[match.lastindex - 1] if match and match.lastindex else None


def count_words(text: str) -> int:
    """Return the number of words of a text."""
    return len(_WORD.findall(text))


def _flatten(value: Any, kind: str | None) -> list[Candidate]:
    """Return the texts in a JSON value as candidates, with the kinds that their keys name."""
    if isinstance(value, str):
        return [Candidate(kind, value)]
    if isinstance(value, list):
        if kind == "keywords" and all(isinstance(item, str) and count_words(item) <= 3 for item in value):
            return [Candidate(kind, ", ".join(value))] if value else []  # key words that form one query
        return [candidate for item in value for candidate in _flatten(item, kind)]
    if not isinstance(value, dict):
        return []
    kind = next((kind_of(str(value[key])) for key in value if key.casefold() in _LABELS), None) or kind
    keys = [key for key in value if key.casefold() not in _LABELS | _NO_QUERY]
    return [candidate for key in keys for candidate in _flatten(value[key], kind_of(key) or kind)]


def _salvage(text: str) -> Iterator[Candidate]:
    """Yield the complete strings of an incomplete or ill-formed JSON text; a string that is cut short is no query."""
    kind: str | None = None
    key = ""
    for match in _STRING.finditer(text):
        content, follows = match.groups()
        try:
            content = json.loads(f'"{content}"', strict=False)
        except ValueError:
            content = content.replace('\\"', '"')  # an unescaped quotation mark
        if follows == ":":
            key = content.casefold()
            kind = kind_of(key) or (kind if key in {"query", "text"} else None)
        elif key in _LABELS:
            kind = kind_of(content)
        elif key not in _NO_QUERY:
            yield Candidate(kind, content)


def _read_lines(text: str) -> Iterator[Candidate]:
    """Yield one candidate per line; a label counts for its line or, on a line of its own, for the lines below it."""
    label: str | None = None
    for line in text.splitlines():
        bare = _bare(line)
        if not bare or bare[0] in "{}[]" or line.lstrip().startswith("```"):
            continue
        head, colon, tail = bare.partition(":")
        kind = kind_of(head) if colon else None
        if kind and not _bare(tail):
            label = kind
        elif kind:
            yield Candidate(kind, tail)
        else:
            yield Candidate(label, bare)


def _unwrap(text: str) -> tuple[str, str | None]:
    """Return a candidate without label, introduction and quotation marks, and the reason to drop it, if any."""
    text = _bare(" ".join(_CONTROL.sub(" ", text).split()))
    if "\ufffd" in text:
        return text, "garbled"
    if preamble := _PREAMBLE.match(text):
        remainder = _bare(text[preamble.end() :])
        if preamble[0][-1] != ":" or not remainder:
            return text, "preamble"
        text = remainder
    head, colon, tail = text.partition(":")
    if colon and kind_of(head):
        text = _bare(tail)
    return text, "preamble" if text.endswith((":", "：")) else None


def _bare(text: str) -> str:
    """Strip numbering, bullets, emphasis and quotation marks, also nested ones."""
    previous = None
    while text != previous:
        previous = text
        text = _NUMBER.sub("", text.strip().strip("*"), count=1) if _NUMBER.match(text.strip().strip("*")) else text
        text = text.strip().strip("*").strip()
        if text[:1] in _QUOTES:
            text = text.rstrip(",; ")
        if len(text) > 1 and text[-1] == _QUOTES.get(text[0]) and text[-1] not in text[1:-1]:
            text = text[1:-1]
    return text


def _key(text: str) -> str:
    """Return a text without case, punctuation and extra spaces; texts that differ only in these have the same key."""
    return " ".join(_WORD.findall(text.casefold()))


def _drop_reason(key: str, source: str, seen: set[str]) -> str | None:
    """Return the reason to drop a query, by its key and that of the passage; None if it is kept."""
    count = len(key.split())
    if not count:
        return "blank"
    if count > MAX_QUERY_WORDS:
        return "too_long"
    if len(key) < MIN_QUERY_CHARACTERS and key.isascii():
        return "too_short"
    if key in seen:
        return "duplicate"
    if key == source:
        return "copy"
    return "copy" if count >= MIN_COPY_WORDS and _copied_share(key, source) >= MAX_COPIED else None


def _copied_share(key: str, source: str) -> float:
    """Return the share of a query's sequences of three words that stand in the passage."""
    words = key.split()
    sequences = [" ".join(words[start : start + 3]) for start in range(len(words) - 2)]
    return sum(f" {sequence} " in f" {source} " for sequence in sequences) / len(sequences)


def _other_language(text: str, language: str) -> str | None:
    """Return the reason to drop a query in another language; a short one cannot be told."""
    if language == "none" or len(text) < MIN_LANGUAGE_CHARACTERS:
        return None
    from indexer.index.terms.languages import detect_language  # loads tantivy, which `--help` does not need

    return None if detect_language([text]) in {language, "none"} else "language"
