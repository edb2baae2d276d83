"""Synonyms and stop words of a query: rules are found by their stems, so that other forms of a word have them too."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from indexer.index.legs import LexicalLeg
from indexer.index.terms.rules import Rules
from indexer.index.terms.words import Option, QueryTerms, inverse_frequency

FACTOR = 0.9
"""Of the score of a synonym; the word itself has 1."""


class _Rule(NamedTuple):
    stems: tuple[str, ...]
    phrase: str
    others: tuple[str, ...]


@lru_cache(maxsize=8)
def _by_first_stem(rules: Rules, body: Any) -> dict[str, list[_Rule]]:
    """Return the rules of each first stem, the longest first."""
    found: dict[str, list[_Rule]] = {}
    for phrase, others in rules.synonyms:
        if stems := tuple(body.analyze(phrase)):
            found.setdefault(stems[0], []).append(_Rule(stems, phrase, others))
    for own in found.values():
        own.sort(key=lambda rule: -len(rule.stems))
    return found


@lru_cache(maxsize=8)
def _stopped(rules: Rules, body: Any) -> frozenset[str]:
    return frozenset(stem for word in rules.stop_words for stem in body.analyze(word))


def drop_stop_words(terms: QueryTerms, lexical: LexicalLeg[Any], rules: Rules) -> QueryTerms:
    """Return the terms without those of stop words; a query of nothing else stays as it is."""
    body: Any = lexical.fields()[0][2]
    if not (stopped := _stopped(rules, body)):
        return terms
    kept = {
        name: [term for term in own if stopped.isdisjoint(body.analyze(term))] if name == lexical.word_fields[0] else
        [term for term in own if term not in stopped]
        for name, own in terms.fields.items()
    }  # fmt: skip
    if not any(kept.values()):
        return terms
    return terms._replace(fields=kept, stems=[stem for stem in terms.stems if stem not in stopped])


def add_synonyms(
    terms: QueryTerms, query: str, lexical: LexicalLeg[Any], rules: Rules
) -> tuple[QueryTerms, list[tuple[str, tuple[str, ...]]]]:
    """Return the terms with the synonyms of a query's phrases as alternatives, and each phrase with its synonyms.

    Phrases do not overlap: from left to right, the longest one is taken.
    """
    body: Any = lexical.fields()[0][2]
    by_first = _by_first_stem(rules, body)
    if not by_first:
        return terms, []
    stems, place, found = body.analyze(query), 0, []
    while place < len(stems):
        fitting = (
            rule for rule in by_first.get(stems[place], ()) if stems[place : place + len(rule.stems)] == [*rule.stems]
        )
        rule = next(fitting, None)
        if rule is None:
            place += 1
            continue
        terms = _with_rule(terms, lexical, rule)
        found.append((rule.phrase, rule.others))
        place += len(rule.stems)
    return terms, found


def _with_rule(terms: QueryTerms, lexical: LexicalLeg[Any], rule: _Rule) -> QueryTerms:
    """Return the terms with those of the phrase, and its synonyms, as alternatives.

    A synonym has no more weight than the phrase; where no document has that, than all synonyms as one term.
    """
    phrase = lexical.analyze(rule.phrase).fields
    own = {name: [term for term in phrase.get(name, ()) if term in known] for name, known in terms.fields.items()}
    others = [analysed for each in rule.others if (analysed := lexical.analyze(each)).stems]
    weight = _weight(lexical, [stem for stem in own["body"] if lexical.document_frequency("body", stem)])
    if not weight:
        rarest = [min(lexical.document_frequency("body", stem) for stem in each.stems) for each in others]
        weight = inverse_frequency(len(lexical), sum(rarest))
    group: list[Option] = [tuple((name, term, 1.0) for name, kept in own.items() for term in kept)]
    for analysed in others:
        factor = FACTOR * min(1.0, weight / _weight(lexical, analysed.stems))
        group.append(tuple((name, term, factor) for name, new in analysed.fields.items() for term in new))
    kept = {name: [term for term in known if term not in own[name]] for name, known in terms.fields.items()}
    return terms._replace(fields=kept, groups=(*terms.groups, tuple(option for option in group if option)))


def _weight(lexical: LexicalLeg[Any], stems: list[str]) -> float:
    """Return the sum of the inverse document frequencies of stems."""
    return sum(inverse_frequency(len(lexical), lexical.document_frequency("body", stem)) for stem in stems)
