"""Expansion of a query in the lexical leg: words half typed, words misspelt, synonyms and stop words.

All alternatives of one word count as one term: in each document the best of them scores, and they share the inverse
document frequency of all of them together, or the rarest would come first. Where one alternative is certain, the
encoder gets it in place of what was typed. A query of which nothing is expanded is searched as it is.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice, pairwise
from operator import attrgetter
from typing import Any, Literal

from indexer.index.legs import LexicalLeg
from indexer.index.served import ServedIndex
from indexer.index.terms.rules import Rules
from indexer.index.terms.words import Group, QueryTerms, inverse_frequency
from indexer.retrieval.spelling import MAX_UNKNOWN_WORDS, is_known
from indexer.retrieval.synonyms import add_synonyms, drop_stop_words

MAX_CONTINUATIONS = 16
"""Words that begin as the last one of a query, the most frequent ones."""
MOST_POSTINGS = 20_000
"""Sum of the document frequencies of all words of a query, up to which the best of its continuations counts. With more they
are added up, the less frequent ones with less weight: tantivy scores every document where only the best counts, and can
skip most where all are added."""
MIN_PREFIX = 2
"""Letters of a word half typed; with fewer, nearly every document has a word that begins so."""
CONTINUATION_FACTOR = 0.8
"""Of the score of a continuation, where the word that was typed is a word itself; that one has 1."""
CERTAIN_SHARE = 0.6
"""Of the occurrences of all alternatives, one of which at least so many makes it certain."""
MAX_CHECKED = 64
"""Continuations that are looked for in the documents that a caller may see."""
MAX_NEAREST = 8
"""Words that stand for a misspelt one."""
SAME_BEGINNING = 3
"""Letters that a word and its certain correction share at the front, two edits away; else one has often another prefix."""
EDIT_FACTOR = 0.8
"""Of the score for each edit."""
REAL_WORD_FACTOR = 0.5
"""Of the score where the encoder has the unknown word in its own vocabulary: then it hardly is misspelt."""
LAST_WORD = re.compile(r"[^\W_]+\Z")


@dataclass(frozen=True)
class Expansion:
    """What is searched beside a word of a query.

    Attributes:
        word: as it was typed.
        kind: why.
        words: that are searched, the best first.
        certain: whether the encoder got the first of them in place of the word.
    """

    word: str
    kind: Literal["prefix", "typo", "synonym"]
    words: tuple[str, ...]
    certain: bool = False


@dataclass(frozen=True)
class Expanded:
    """A query as it is searched.

    Attributes:
        query: as it was typed.
        text: what the encoder gets.
        terms: what the lexical leg looks for.
        expansions: what is searched beside its words.
    """

    query: str
    text: str
    terms: QueryTerms
    expansions: tuple[Expansion, ...] = ()

    @property
    def words(self) -> str:
        """The query and all words that are searched beside it, for marking them in texts."""
        return " ".join([self.query, *(word for each in self.expansions for word in each.words)])


def expand(index: ServedIndex, query: str, *, prefix: bool, typos: bool, rules: Rules) -> Expanded:
    """Return a query as it is searched.

    Args:
        index: what is searched; nothing is told of words of documents that it does not show.
        query: what the user typed.
        prefix: whether its last word may be half typed; a blank behind it ends it.
        typos: whether words that no document has are replaced by their nearest ones.
        rules: synonyms and stop words.
    """
    lexical = index.lexical
    expanded = Expanded(query, query, lexical.analyze(query))
    if rules:
        terms = drop_stop_words(expanded.terms, lexical, rules)
        terms, found = add_synonyms(terms, query, lexical, rules)
        synonyms = tuple(Expansion(phrase, "synonym", others) for phrase, others in found)
        expanded = replace(expanded, terms=terms, expansions=synonyms)
    last = LAST_WORD.search(query) if prefix else None
    completed = last and _complete(index, expanded, last)
    if typos:
        end = last.start() if last and completed else len(query)
        expanded = _correct(index, completed or expanded, end)
    return expanded if typos else completed or expanded


def _complete(index: ServedIndex, expanded: Expanded, last: re.Match[str]) -> Expanded | None:
    """Return the query with words that begin as its last one; None where there are no others."""
    lexical, typed = index.lexical, last[0]
    analysed = lexical.analyze(typed)
    form = (analysed.fields.get(lexical.word_fields[0]) or [typed.casefold()])[-1]
    if len(form) < MIN_PREFIX:
        return None
    many = MAX_CONTINUATIONS if index.visible is None else MAX_CHECKED
    found = [(word, documents) for word, documents in lexical.continuations(form, many + 1) if word != form]
    words = dict(_shown(index, found)[:MAX_CONTINUATIONS])
    if not words:
        return None
    own = [term for term in analysed.fields["body"] if term in expanded.terms.fields["body"]]
    known = _occurs(index, form)
    by_stem: Counter[str] = Counter()
    surface: dict[str, str] = {}
    for (word, documents), stem in zip(words.items(), _first_stems(lexical, [*words]), strict=True):
        if stem is not None:
            by_stem[stem] += documents
            surface.setdefault(stem, word)
    best, most = by_stem.most_common(1)[0] if by_stem else ("", 0)
    factor = CONTINUATION_FACTOR if known else 1.0
    options = {stem: factor for stem in by_stem if stem not in own}
    if known and not options:  # other forms of the word, which it finds anyway
        return None
    terms = _with_groups(expanded.terms, lexical, own, options, _word_fields(lexical))
    if sum(lexical.document_frequency(*term) for term in terms.all_terms()) > MOST_POSTINGS:
        shares = {stem: math.sqrt(documents / most) for stem, documents in by_stem.items()}
        terms = _added_up(expanded.terms, terms, shares)
    certain = not known and bool(by_stem) and most >= CERTAIN_SHARE * by_stem.total()
    first = surface.get(best, "")
    ordered = tuple(dict.fromkeys([first, *words])) if first else tuple(words)
    text = expanded.text[: last.start()] + first if certain else expanded.text
    return replace(
        expanded,
        text=text,
        terms=terms,
        expansions=(*expanded.expansions, Expansion(typed, "prefix", ordered, certain)),
    )


def _first_stems(lexical: LexicalLeg[Any], words: list[str]) -> list[str | None]:
    """Return the first stem of each word; None for a word without one. All are analysed at once, or it takes as long as a search."""
    stems = lexical.fields()[0][2].analyze(" ".join(words))
    if len(stems) == len(words):
        return [*stems]
    return [next(iter(lexical.terms(word)), None) for word in words]


def _correct(index: ServedIndex, expanded: Expanded, end: int) -> Expanded:
    """Return the query with the nearest words for those before ``end`` that no document has."""
    lexical, query = index.lexical, expanded.query
    if not index.is_restricted and lexical.knows_all(query):  # most queries; the same answer in a fifth of the time
        return expanded
    unknown = [
        each
        for each in lexical.spellings(query)
        if each.end <= end
        and not _is_name(query[each.start : each.end])
        and not is_known(each.word, lexical, index.visible)
    ]
    if not 0 < len({each.word for each in unknown}) <= MAX_UNKNOWN_WORDS:
        return expanded
    terms, expansions, text, done = expanded.terms, [*expanded.expansions], "", 0
    for each in unknown:
        if not (nearest := _nearest(index, each.word)):
            continue
        real = index.encoder.has_token(query[each.start : each.end])
        most = max(documents for _, documents, _ in nearest)
        factors = {
            word: EDIT_FACTOR**edits * (REAL_WORD_FACTOR if real else 1.0) * math.log1p(documents) / math.log1p(most)
            for edits, documents, word in nearest
        }
        for field in {**dict.fromkeys(_word_fields(lexical)), lexical.word_fields[0]: None}:
            options: dict[str, float] = {}
            for word, factor in factors.items():
                for term in lexical.analyze(word).fields.get(field, ()):
                    options[term] = max(options.get(term, 0.0), factor)
            terms = _with_groups(terms, lexical, [], options, [field])
        closest = [documents for edits, documents, _ in nearest if edits == nearest[0][0]]
        begins_alike = _begins_alike(lexical, each.word, nearest[0])
        certain = begins_alike and not real and closest[0] >= CERTAIN_SHARE * sum(closest)
        expansions.append(Expansion(query[each.start : each.end], "typo", tuple(factors), certain))
        if certain:
            text += query[done : each.start] + nearest[0][2]
            done = each.end
    # What was completed stands at the end, behind every word that is corrected here.
    return replace(expanded, terms=terms, text=text + expanded.text[done:], expansions=tuple(expansions))


def edits_allowed(word: str) -> int:
    """Return how many edits a word that is searched may need: none up to three letters, one up to seven, then two."""
    return 0 if len(word) < 4 else 1 if len(word) < 8 else 2


def _nearest(index: ServedIndex, word: str) -> list[tuple[int, int, str]]:
    """Return edits, documents and word of the nearest words, best first; those two edits away only if none is nearer."""
    if not (limit := edits_allowed(word)):
        return []
    near = index.lexical.near(word, limit)
    for _, equally in groupby(near, key=attrgetter("edits")):
        found = {each.word: each for each in islice(equally, MAX_CHECKED)}
        shown = _shown(index, [(each.word, each.documents) for each in found.values()])
        # Few people err in the first letter; two edits away, another one makes another word: uncultured, cultured.
        alike = [each for each in shown if each[0][0] == word[0]]
        if alike or (shown and found[shown[0][0]].edits == 1):
            return [(found[name].edits, documents, name) for name, documents in (alike or shown)[:MAX_NEAREST]]
    return []


def _begins_alike(lexical: LexicalLeg[Any], word: str, nearest: tuple[int, int, str]) -> bool:
    """Say whether the nearest word begins as ``word``: by one letter, or by `SAME_BEGINNING` where it is two edits away."""
    edits, _, other = nearest
    letters = 1 if edits == 1 else SAME_BEGINNING
    return lexical.comparable(other)[:letters] == lexical.comparable(word)[:letters]


def _is_name(written: str) -> bool:
    """Say whether a word has a capital behind a small letter, as formulas, genes and products have: it is not corrected."""
    if written.isascii() and written[1:].islower():
        return False
    return any(first.islower() and second.isupper() for first, second in pairwise(written))


def _shown(index: ServedIndex, words: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return those of ``words`` that a document that the index shows has, the most frequent first.

    Where only some documents exist for the caller, they alone are counted.
    """
    lexical, visible = index.lexical, index.visible
    if visible is None:
        return words
    if index.is_restricted:
        counted = [(word, lexical.count_documents(word, visible)) for word, _ in words]
        return sorted((each for each in counted if each[1]), key=lambda each: (-each[1], each[0]))
    return [each for each in words if _occurs(index, each[0])]


def _occurs(index: ServedIndex, word: str) -> bool:
    """Say whether a document that the index shows has a word as it is written."""
    lexical, visible = index.lexical, index.visible
    hidden = 0 if visible is None else len(lexical) - visible.count
    if any(lexical.document_frequency(field, word) > hidden for field in lexical.word_fields):
        return True
    as_written = QueryTerms([], {name: [word] for name in lexical.word_fields})
    return bool(len(lexical.search(as_written, 1, visible)[1]))


def _word_fields(lexical: LexicalLeg[Any]) -> list[str]:
    """Return the fields of stems: that of title and text, and those of the columns."""
    body = lexical.fields()[0][2]
    return [name for name, _, analyzer in lexical.fields() if analyzer is body]


def _added_up(typed: QueryTerms, terms: QueryTerms, shares: dict[str, float]) -> QueryTerms:
    """Return the terms as they were ``typed``, and the new alternatives of ``terms`` added to them, each by itself.

    ``shares`` says how much of each term's score counts: with equal ones, documents with many continuations come first.
    """
    known, new = {*typed.all_terms()}, terms.groups[len(typed.groups) :]
    singles = [single for group in new for option in group for single in option if single[:2] not in known]
    added = tuple((((field, term, factor * shares[term]),),) for field, term, factor in singles)
    return typed._replace(groups=(*typed.groups, *added))


def _with_groups(
    terms: QueryTerms, lexical: LexicalLeg[Any], own: Iterable[str], options: dict[str, float], fields: Iterable[str]
) -> QueryTerms:
    """Return the terms of a query with a group of alternatives in each of ``fields``.

    Args:
        terms: of the query.
        lexical: the leg.
        own: terms of the word itself; they become alternatives that count in full.
        options: the other terms, and of each the share of its score that counts.
        fields: in which they are looked for.
    """
    kept, groups = dict(terms.fields), [*terms.groups]
    for field in fields:
        moved = [term for term in own if term in kept.get(field, ())]
        group = alternatives(lexical, field, moved, options)
        if group:
            kept[field] = [term for term in kept.get(field, ()) if term not in moved]
            groups.append(group)
    return terms._replace(fields=kept, groups=tuple(groups))


def alternatives(lexical: LexicalLeg[Any], field: str, own: Sequence[str], options: dict[str, float]) -> Group:
    """Return a group of single terms that share the inverse document frequency of all of them together.

    Those of the word's ``own`` keep theirs, which is as high or higher: it counts more than what stands beside it.
    """
    documents = {term: lexical.document_frequency(field, term) for term in (*own, *options)}
    shared = inverse_frequency(len(lexical), sum(documents.values()))
    group = [((field, term, 1.0),) for term in own]
    for term, factor in options.items():
        alone = inverse_frequency(len(lexical), documents[term])
        group.append(((field, term, factor * min(1.0, shared / alone)),))
    return tuple(group)
