"""Expansion of queries: words half typed, misspelt words, synonyms and stop words; what is certain reaches the encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shop import build_shop, shop_rows, words_of

from indexer.artifacts.store import Store
from indexer.filters.evaluate import restrict
from indexer.filters.filter import Filter
from indexer.index.index import Index
from indexer.index.terms.rules import NO_RULES, Rules
from indexer.live.overlay import LiveIndex
from indexer.live.prepare import NewDocument, Preparer, apply_writes
from indexer.live.write import Write
from indexer.retrieval.completion import complete_titles
from indexer.retrieval.expansion import Expanded
from indexer.retrieval.retriever import Retriever
from indexer.retrieval.spelling import is_known, suggestion

ROWS = shop_rows()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Retriever:
    """Return a retriever over the shop's index."""
    data = build_shop(tmp_path_factory.mktemp("shop") / "data", tiny_data)
    return Retriever(Index.open(Store("index", data).resolve()))


def ids(retriever: Retriever, expanded: Expanded) -> list[str]:
    """Return the ids that lexical search finds, best first."""
    ranking = retriever.search(expanded.query, "lexical", expanded=expanded)
    return [document.id for document in retriever.index.documents(ranking.rows)]


def having(*words: str) -> set[str]:
    """Return the ids of the documents with one of these words."""
    return {str(row["id"]) for row in ROWS if not {*words}.isdisjoint(words_of(row).replace(".", " ").split())}


def live(index: Index, *documents: NewDocument, deleted: tuple[str, ...] = ()) -> Retriever:
    """Return a retriever over the index with one more write."""
    preparer = Preparer(index)
    sequence = index.overlay.sequence + 1 if isinstance(index, LiveIndex) else 1
    write = Write(sequence, preparer.recipe, tuple(preparer.prepare(documents)), deleted, "now")
    return Retriever(apply_writes(index, [write]))


def test_a_word_half_typed_finds_what_the_whole_word_finds(shop: Retriever) -> None:
    """Each beginning from four letters on finds the documents of the word, and the encoder gets the word."""
    whole = ids(shop, shop.expand("headphones"))
    assert whole
    for length in range(4, len("headphones")):
        expanded = shop.expand("headphones"[:length], prefix=True)
        assert set(ids(shop, expanded)) == set(whole)
        assert expanded.text == "headphones"
        assert [(each.word, each.kind, each.certain) for each in expanded.expansions] == [
            ("headphones"[:length], "prefix", True)
        ]
    assert ids(shop, shop.expand("headph")) == []


@pytest.mark.parametrize("query", ["head ", "kettle", "tea kettle", ""])
def test_a_finished_word_is_no_prefix(shop: Retriever, query: str) -> None:
    """A blank ends the word; where no other word begins so, nothing changes."""
    expanded = shop.expand(query, prefix=True)
    assert expanded.expansions == ()
    assert (expanded.text, expanded.terms) == (query, shop.expand(query).terms)


def test_several_continuations_are_one_term(shop: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    """No continuation is certain; all are found, the rarest does not come first for being rare, and none counts twice.

    Where many documents have the words, all are added up, the most frequent ones with most weight.
    """
    expanded = shop.expand("b", prefix=True)
    assert expanded.expansions == ()  # a letter is too little
    expanded = shop.expand("bl", prefix=True)
    (expansion,) = expanded.expansions
    assert {"black", "blue", "blender"} <= set(expansion.words)
    assert not expansion.certain
    assert expanded.text == "bl"
    assert set(ids(shop, expanded)) == having(*expansion.words)
    monkeypatch.setattr("indexer.retrieval.expansion.MOST_POSTINGS", 0)
    added = shop.expand("bl", prefix=True)
    assert set(ids(shop, added)) == having(*expansion.words)
    lexical, rows = shop.index.lexical, np.arange(len(ROWS))
    options = next(group for group in expanded.terms.groups if group[0][0][0] == "body")
    by_option = []
    for ((name, term, factor),) in options:
        alone = shop.expand("").terms._replace(fields={name: [term]})
        by_option.append(factor * lexical.scores(alone, rows))
    np.testing.assert_allclose(lexical.scores(expanded.terms.only("body"), rows), np.max(by_option, axis=0), rtol=1e-5)
    weights = {group[0][0][:2]: group[0][0][2] for group in added.terms.groups}
    shares = [weights.get((name, term), 0.0) / factor for ((name, term, factor),) in options]
    summed = np.sum([share * own for share, own in zip(shares, by_option, strict=True)], axis=0)
    np.testing.assert_allclose(lexical.scores(added.terms.only("body"), rows), summed, rtol=1e-5)
    of_word = dict(zip((term for ((_, term, _),) in options), shares, strict=True))
    assert 1 == max(shares) == of_word["black"] > of_word["blender"] > 0


def test_the_word_as_typed_counts_more(shop: Retriever) -> None:
    """«back» is a word, and «backpack» goes on from it: documents with «back» itself come first."""
    expanded = shop.expand("back", prefix=True)
    found = ids(shop, expanded)
    exact = having("back")
    assert set(found[: len(exact)]) == exact
    assert set(found) == exact | having("backpack") > exact
    assert not expanded.expansions[0].certain


def test_a_misspelt_word_is_searched_as_its_nearest(shop: Retriever) -> None:
    """One edit from four letters on, two from eight, swapped neighbours are one; known words stay as they are."""
    for query, meant in (("keyborad", "keyboard"), ("chiar", "chair"), ("bakcpakc", "backpack"), ("ketle", "kettle")):
        expanded = shop.expand(f"a {query} please", typos=True)
        assert [(each.word, each.kind, each.words[0]) for each in expanded.expansions][:1] == [(query, "typo", meant)]
        assert set(ids(shop, expanded)) == having(meant)
        assert ids(shop, shop.expand(f"a {query} please")) == []
    assert shop.expand("a kettle please", typos=True).terms == shop.expand("a kettle please").terms
    assert shop.expand("teb qwxzvq", typos=True).expansions == ()


def test_only_what_is_certain_reaches_the_encoder(shop: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    """A correction replaces the word for the encoder, unless the encoder has the word itself in its vocabulary."""
    sent: list[str] = []
    encode = shop.index.encoder.encode_query
    monkeypatch.setattr(shop.index.encoder, "encode_query", lambda text: sent.append(text) or encode(text))
    expanded = shop.expand("red keyborad, cheap", typos=True)
    shop.search("red keyborad, cheap", "hybrid", expanded=expanded)
    assert expanded.text == "red keyboard, cheap"
    monkeypatch.setattr(shop.index.encoder, "has_token", lambda word: word == "keyborad")
    known = shop.expand("red keyborad, cheap", typos=True)
    shop.search("red keyborad, cheap", "hybrid", expanded=known)
    assert sent == ["red keyboard, cheap", "red keyborad, cheap"]
    assert not known.expansions[0].certain
    assert set(ids(shop, known)) >= having("keyboard")


def test_synonyms_apply_to_the_lexical_leg(shop: Retriever) -> None:
    """Two-way and one-way rules, of one word or several; the word itself counts more; the encoder gets the query."""
    expanded = shop.expand("couches")
    assert [(each.word, each.kind, each.words) for each in expanded.expansions] == [("couch", "synonym", ("lamp",))]
    assert set(ids(shop, expanded)) == having("lamp")
    assert expanded.text == "couches"
    bikes = shop.expand("bikes")
    assert having("bicycle") <= set(ids(shop, bikes))
    assert having("garden") <= set(ids(shop, bikes))
    assert shop.expand("bicycle").expansions == ()
    assert shop.expand("bikes", rules=NO_RULES).expansions == ()
    phrase = shop.expand("bicycle", rules=Rules(synonyms=(("bicycle", ("tea kettle",)),)))
    found = ids(shop, phrase)
    assert found[0] in having("bicycle")
    assert having("kettle") <= set(found)


def test_stop_words_are_not_searched(shop: Retriever) -> None:
    """They are left out of the query's words, in any form; a query of nothing else stays as it is."""
    rules = Rules(stop_words=("lasts",))
    assert len(ids(shop, shop.expand("lasting kettle"))) == len(ROWS)
    assert set(ids(shop, shop.expand("lasting kettle", rules=rules))) == having("kettle")
    assert len(ids(shop, shop.expand("lasting", rules=rules))) == len(ROWS)


def test_live_words_are_continued_and_corrected(shop: Retriever) -> None:
    """Words that only a live document has: no typing error, a continuation, a correction, and a completed title."""
    new = NewDocument("new", "Zeppelin for the garden", "A zeppelin flies.", {"brand": "Zorbal"})
    retriever = live(shop.index, new)
    assert ids(retriever, retriever.expand("zepp", prefix=True)) == ["new"]
    assert ids(retriever, retriever.expand("zepelin", typos=True)) == ["new"]
    assert retriever.expand("zeppelin", typos=True).expansions == ()
    assert complete_titles(retriever.index, "zepp", 5) == ["Zeppelin for the garden"]
    assert complete_titles(shop.index, "zepp", 5) == []
    gone = live(retriever.index, deleted=("new",))
    assert ids(gone, gone.expand("zepp", prefix=True)) == []
    assert complete_titles(gone.index, "zepp", 5) == []


def test_a_word_of_deleted_documents_alone_is_unknown(shop: Retriever) -> None:
    """Correction and suggestion agree about it; a word that a document besides the deleted ones has stays known."""
    there = live(shop.index, NewDocument("wrong", "A kettel", "A kettel boils.", {}))
    assert there.expand("kettel", typos=True).expansions == ()
    gone = live(there.index, deleted=("wrong", str(ROWS[0]["id"])))
    (found,) = gone.expand("kettel", typos=True).expansions
    assert found.words[0] == "kettle"
    for query, expected in (("kettel", "kettle"), ("kettle", None), (str(ROWS[0]["brand"]), None)):
        assert suggestion(query, gone.index.lexical, gone.index.visible) == expected
        assert bool(gone.expand(query, typos=True).expansions) == bool(expected)
    for retriever, word in ((shop, "kettel"), (there, "kettel"), (gone, "kettle")):
        lexical, visible = retriever.index.lexical, retriever.index.visible
        assert is_known(word, lexical, visible) == (retriever is not shop)


def test_a_view_tells_nothing_of_other_documents(shop: Retriever) -> None:
    """Continuations, corrections and titles are of the documents that a view shows, and counted in them alone."""
    only = Filter.model_validate({"must": [{"field": "brand", "eq": ROWS[0]["brand"]}]})
    view = Retriever(restrict(only, shop.index))
    own = {str(row["id"]) for row in ROWS if row["brand"] == ROWS[0]["brand"]}
    others = {str(row["title"]) for row in ROWS if row["brand"] != ROWS[0]["brand"]}
    for letters in ("bl", "he", "ke", "ba", "ch", "wa", "te", "la"):
        for each in view.expand(letters, prefix=True, typos=True).expansions:
            assert having(*each.words) & own
            for word in each.words:
                assert having(word) & own
        assert others.isdisjoint(complete_titles(view.index, letters, 20))
    other_brand = next(str(row["brand"]) for row in ROWS if row["brand"] != ROWS[0]["brand"])
    assert other_brand.lower() in shop.expand(other_brand[:-1], prefix=True).expansions[0].words
    assert view.expand(other_brand[:-1], prefix=True).expansions == ()
    assert view.expand(other_brand + "x", typos=True).expansions == ()


def test_titles_are_completed(shop: Retriever) -> None:
    """Each has all words of the text and one that begins as the last; those that begin with the text come first."""
    title = str(ROWS[0]["title"])
    assert complete_titles(shop.index, title[:-2], 5) == [title]
    assert complete_titles(shop.index, title.upper(), 5) == [title]
    for text in ("headph", "floor la", "lamp fl"):
        found = complete_titles(shop.index, text, 20)
        expected = [
            str(row["title"])
            for row in ROWS
            if all(any(own.startswith(word) for own in str(row["title"]).lower().split()) for word in text.split())
        ]
        assert sorted(found) == sorted(expected)
    assert complete_titles(shop.index, "lamp fl ", 5) == []
    assert complete_titles(shop.index, " ,", 5) == []
    lengths = [len(title) for title in complete_titles(shop.index, "headph", 20)]
    assert lengths == sorted(lengths)


def test_names_are_not_corrected(shop: Retriever) -> None:
    """A capital behind a small letter makes a formula or a product; in front or everywhere it does not."""
    assert shop.expand("lamPp", typos=True).expansions == ()
    for written in ("lampp", "Lampp", "LAMPP"):
        (found,) = shop.expand(written, typos=True).expansions
        assert found.words[0] == "lamp" and found.certain


def test_another_first_letter_is_never_certain(shop: Retriever) -> None:
    """It may be another word: it is searched, and the encoder reads what was typed; two edits away it is not searched."""
    (found,) = shop.expand("xeyboard", typos=True).expansions
    assert found.words == ("keyboard",) and not found.certain
    assert shop.expand("unkeyboard", typos=True).expansions == ()


def test_another_prefix_is_never_certain(shop: Retriever) -> None:
    """Two edits away, a word that begins otherwise is often another one: osteogenesis is no ontogenesis."""
    for query, certain in (("krtboard", False), ("keyborda", True), ("keybaordd", True)):
        (found,) = shop.expand(query, typos=True).expansions
        assert found.words == ("keyboard",) and found.certain == certain, query


@pytest.mark.parametrize(
    "query",
    [
        "red lamp",
        "Red LAMP, and a chair?",
        "red lmap",
        "the of",
        "",
        "_red_lamp_",
        "lámpara RED 3x 2024",
        "won't",
        "日本 red",
        "ﬁne re\u00add",
    ],
)
def test_known_words_are_found_out_together(shop: Retriever, query: str) -> None:
    """That all words of a query are known is said of just those queries of which each word is, one by one."""
    lexical = shop.index.lexical
    assert lexical.knows_all(query) == all(lexical.knows(each.word) for each in lexical.spellings(query))
