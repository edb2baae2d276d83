"""Completion of what is being typed, from the titles of documents: each title has all words, and one that begins as the last.

The field of titles in the lexical index finds them, in the index and among live documents, and only those that a caller
may see. Titles that begin with the text come first, then those that more documents have, then short ones.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from indexer.index.legs import LexicalLeg
from indexer.index.served import ServedIndex
from indexer.index.terms.tokens.characters import fold
from indexer.index.terms.words import QueryTerms
from indexer.retrieval.expansion import alternatives

MAX_BEGINNINGS = 512
"""Words that begin as the last one and are looked for in titles, the most frequent ones."""
READ = 200
"""Documents whose titles are read."""
WORD = re.compile(r"\w+")


def complete_titles(index: ServedIndex, text: str, count: int) -> list[str]:
    """Return at most ``count`` titles of visible documents that complete ``text``, the best first."""
    typed = _form(text)
    words = WORD.findall(typed)
    if not words:
        return []
    begun = words.pop() if typed[-1:] == words[-1][-1] else ""
    _, rows = index.lexical.search(_terms(index.lexical, words, begun), READ, index.visible)
    titles: dict[str, str] = {}
    documents: Counter[str] = Counter()
    for document in index.documents(rows):
        title = document.title or ""
        if _completes(form := _form(title), words, begun):
            titles.setdefault(form, title)
            documents[form] += 1
    start = typed.strip()
    best = sorted(titles, key=lambda form: (not form.startswith(start), -documents[form], len(form), form))
    return [titles[form] for form in best[:count]]


def _terms(lexical: LexicalLeg[Any], words: list[str], begun: str) -> QueryTerms:
    """Return what is looked for in the field of titles: each word, and any of those that begin as the last one."""
    field = lexical.title_field
    analyzer = next(analyzer for name, _, analyzer in lexical.fields() if name == field)
    whole = list(dict.fromkeys(analyzer.analyze(" ".join(words))))
    if not begun:
        return QueryTerms([], {field: whole})
    found = [begun, *(word for word, _ in lexical.continuations(begun, MAX_BEGINNINGS, field))]
    options = dict.fromkeys([term for word in found for term in analyzer.analyze(word)], 1.0)
    group = alternatives(lexical, field, (), options)
    return QueryTerms([], {field: whole}, (group,) if group else ())


def _completes(title: str, words: list[str], begun: str) -> bool:
    own = WORD.findall(title)
    return set(words) <= set(own) and (not begun or any(word.startswith(begun) for word in own))


def _form(text: str) -> str:
    """Return a text as titles are compared: without case and accents."""
    return fold(text.casefold())
