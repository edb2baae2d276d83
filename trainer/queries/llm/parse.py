"""What a language model wrote becomes clean queries: read as JSON, as half a JSON or as lines, then sifted.

Models number their answers, quote them, introduce them, repeat themselves and copy the passage. Every candidate that is
not kept is counted with its reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

KINDS = ("question", "claim", "title", "keywords", "search")
"""What can be asked for."""

Outcome = Literal["complete", "underfilled", "empty", "refused", "failed"]
"""What became of a row: all queries, fewer, none in the answer, request refused by the server, no answer at all."""

LONGEST_QUERY = 64  # words
LONGEST_ANSWER = 20_000  # characters that are read of it
LONG_COPY = 8  # words: a shorter phrase of the passage is what people search for

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
    """A piece of an answer that may be a query, and the kind that it was labelled with."""

    kind: str | None
    text: str


class Answer(NamedTuple):
    """The (kind, query) that are kept, and how many candidates were dropped by reason."""

    queries: list[tuple[str, str]]
    dropped: Counter[str]


def read(raw: str, slots: Sequence[str], passage: str) -> Answer:
    """Return the queries in a raw answer about ``passage``; ``slots`` are the kinds that were asked for, in order."""
    return clean(parse(raw), slots, passage)


def outcome(kept: int, wanted: int) -> Outcome:
    """Say whether an answer has as many queries as were asked for, fewer or none."""
    if kept >= wanted:
        return "complete"
    return "underfilled" if kept else "empty"


def parse(raw: str) -> list[Candidate]:
    """Return the candidates in a raw answer, in order: of JSON, also broken off, or else of its lines."""
    text = _THOUGHT.sub("", raw[:LONGEST_ANSWER])
    text = text.rpartition("</think>")[2]  # some templates open the thought before the answer begins
    found: list[Candidate] = []
    opening = _OPENING.search(text)
    whole = opening is not None
    while opening:
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(text, opening.end())
        except (ValueError, RecursionError):
            found += _salvaged(text[opening.end() :])
            whole = False
            break
        found += _flat(value, None)
        opening = _OPENING.search(text, end)
    return found if found or whole else list(_lines(text))


def clean(candidates: Sequence[Candidate], slots: Sequence[str], passage: str) -> Answer:
    """Sift candidates and give each a slot: its own kind's first, then whichever is free.

    Reasons of a drop: ``preamble``, ``blank``, ``garbled`` (bytes that are no character), ``too_long``, ``duplicate`` (case-folded), ``copy`` (a long stretch of
    the passage, word for word) and ``surplus`` (more than were asked for).
    """
    dropped: Counter[str] = Counter()
    good: list[Candidate] = []
    seen: set[str] = set()
    source = _key(passage)
    for candidate in candidates:
        text, reason = _tidied(candidate.text)
        key = _key(text)
        reason = reason or _fault(key, source, seen)
        if reason:
            dropped[reason] += 1
        else:
            seen.add(key)
            good.append(Candidate(candidate.kind, text))
    free = list(range(len(slots)))
    placed: dict[int, tuple[str, str]] = {}
    for exact in (True, False):
        for candidate in list(good):
            place = next((at for at in free if not exact or slots[at] == candidate.kind), None)
            if place is not None:
                free.remove(place)
                good.remove(candidate)
                placed[place] = (candidate.kind or slots[place], candidate.text)
    if good:
        dropped["surplus"] += len(good)
    return Answer([placed[at] for at in sorted(placed)], dropped)


def kind_of(label: str) -> str | None:
    """Return the kind that a model's label means, such as ``Question 2``, or None."""
    match = _KIND.fullmatch(re.sub(r"[\W\d_]+", " ", label).strip().casefold())
    return KINDS[match.lastindex - 1] if match and match.lastindex else None


def words(text: str) -> int:
    """Return how many words a text has."""
    return len(_WORD.findall(text))


def _flat(value: Any, kind: str | None) -> list[Candidate]:
    """Return the texts in a JSON value with the kinds that their keys name."""
    if isinstance(value, str):
        return [Candidate(kind, value)]
    if isinstance(value, list):
        if kind == "keywords" and all(isinstance(each, str) and words(each) <= 3 for each in value):
            return [Candidate(kind, ", ".join(value))] if value else []  # the key words of one query
        return [candidate for each in value for candidate in _flat(each, kind)]
    if not isinstance(value, dict):
        return []
    kind = next((kind_of(str(value[key])) for key in value if key.casefold() in _LABELS), None) or kind
    keys = [key for key in value if key.casefold() not in _LABELS | _NO_QUERY]
    flat = [_flat(value[key], kind_of(key) or kind) for key in keys]
    return [candidate for part in flat for candidate in part]


def _salvaged(text: str) -> Iterator[Candidate]:
    """Yield the complete strings of a JSON text that is broken off or ill-formed; what was cut short is no query."""
    kind: str | None = None
    key = ""
    for match in _STRING.finditer(text):
        content, follows = match.groups()
        try:
            content = json.loads(f'"{content}"', strict=False)
        except ValueError:
            content = content.replace('\\"', '"')  # a quotation mark that should have been escaped
        if follows == ":":
            key = content.casefold()
            kind = kind_of(key) or (kind if key in {"query", "text"} else None)
        elif key in _LABELS:
            kind = kind_of(content)
        elif key not in _NO_QUERY:
            yield Candidate(kind, content)


def _lines(text: str) -> Iterator[Candidate]:
    """Yield one candidate a line; a label counts for its own line or, standing alone, for those below it."""
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


def _tidied(text: str) -> tuple[str, str | None]:
    """Return a candidate without its wrapping, and the reason to drop it, if it is nothing but wrapping."""
    text = _bare(" ".join(_CONTROL.sub(" ", text).split()))
    if "\ufffd" in text:
        return text, "garbled"
    if preamble := _PREAMBLE.match(text):
        rest = _bare(text[preamble.end() :])
        if preamble[0][-1] != ":" or not rest:
            return text, "preamble"
        text = rest
    head, colon, tail = text.partition(":")
    if colon and kind_of(head):
        text = _bare(tail)
    return text, "preamble" if text.endswith((":", "：")) else None


def _bare(text: str) -> str:
    """Strip numbering, bullets, emphasis and quotation marks, however they are nested."""
    before = None
    while text != before:
        before = text
        text = _NUMBER.sub("", text.strip().strip("*"), count=1) if _NUMBER.match(text.strip().strip("*")) else text
        text = text.strip().strip("*").strip()
        if text[:1] in _QUOTES:
            text = text.rstrip(",; ")
        if len(text) > 1 and text[-1] == _QUOTES.get(text[0]) and text[-1] not in text[1:-1]:
            text = text[1:-1]
    return text


def _key(text: str) -> str:
    """Return what two texts have in common that differ in case, punctuation and spaces only."""
    return " ".join(_WORD.findall(text.casefold()))


def _fault(key: str, source: str, seen: set[str]) -> str | None:
    count = len(key.split())
    if not count:
        return "blank"
    if count > LONGEST_QUERY:
        return "too_long"
    if key in seen:
        return "duplicate"
    copied = count >= LONG_COPY or key == source
    return "copy" if copied and f" {key} " in f" {source} " else None
