"""The lexical leg: BM25 with stems, for any query text."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from stories import STORIES, WORDS

from indexer.errors import UserError
from indexer.index.lexical import search
from indexer.index.lexical.search import LexicalIndex
from indexer.index.lexical.writer import LexicalWriter, commit_size

ENGLISH = [text for _, _, text in STORIES]


def make(folder: Path, texts: list[str], language: str = "en") -> LexicalIndex:
    """Write an index of ``texts`` and open it."""
    writer = LexicalWriter(folder, language)
    writer.add(texts)
    writer.close()
    return LexicalIndex.open(folder, language)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    """Return an index of the six stories."""
    return make(tmp_path_factory.mktemp("english") / "lexical", ENGLISH)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    """Return an index of 500 random texts of very different lengths, whose scores are hardly ever equal."""
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(3, 60))) for _ in range(500)]
    return make(tmp_path_factory.mktemp("large") / "lexical", texts)


def find_rows(index: LexicalIndex, query: str, count: int = 100) -> list[int]:
    """Return the rows that a query finds, best first."""
    return index.search(query, count)[1].tolist()


@pytest.mark.parametrize("query", ["run", "running", "Runs", "RUN!"])
def test_stems_find_each_other(english: LexicalIndex, query: str) -> None:
    """Any form of a word finds the documents with any other form of it, and only those."""
    assert set(find_rows(english, query)) == {1, 5}


def test_spanish(tmp_path: Path) -> None:
    """An index for Spanish stems Spanish words."""
    texts = ["Los gatos duermen en las casas", "Un perro corriendo por la calle", "Llueve"]
    spanish = make(tmp_path / "es", texts, "es")
    assert find_rows(spanish, "casa") == [0]
    assert find_rows(spanish, "correr") == [1]
    assert find_rows(make(tmp_path / "none", texts, "none"), "casa") == []


def test_chinese_word_inside_a_sentence(tmp_path: Path) -> None:
    """A word is found in a sentence without spaces; the same characters apart from each other rank lower."""
    texts = ["我们的言辞和语气都很重要", "我们喜欢自然语言处理", "猫在花园里睡觉"]
    chinese = make(tmp_path / "zh", texts, "zh")
    assert find_rows(chinese, "语言") == [1, 0]
    assert find_rows(chinese, "花园") == [2]


def test_best_first_with_bm25(english: LexicalIndex) -> None:
    """Scores fall, a rare word counts more than a frequent one, and ``count`` is a limit."""
    scores, rows = english.search("queen garden dog", 10)
    assert (scores[:-1] >= scores[1:]).all()
    assert (scores > 0).all()
    assert rows[0] == 5 or rows[0] == 3
    assert english.search("queen", 1)[0][0] > english.search("garden", 1)[0][0]
    assert len(find_rows(english, "queen garden dog", 2)) == 2
    assert find_rows(english, "queen garden dog", 0) == []
    assert len(english) == 6


def test_scores_are_those_of_search(large: LexicalIndex) -> None:
    """Scoring given documents gives what searching gives for them, and 0 for documents without a term of the query."""
    for query in ("cat", "king and queen", "cat cat dog the snow", "cat nosuchword", "running ships at sea"):
        scores, rows = large.search(query, 500)
        expected = np.zeros(500, dtype=np.float32)
        expected[rows] = scores
        shuffled = np.random.default_rng(2).permutation(500)
        assert np.allclose(large.scores(query, shuffled), expected[shuffled], rtol=1e-5)
        some = shuffled[:7]
        assert np.allclose(large.scores(query, some), expected[some], rtol=1e-5)
        assert 0 < len(rows) < 500


def test_scores_of_no_documents_and_of_no_terms(large: LexicalIndex) -> None:
    """No documents give no scores; a query without terms gives zeros."""
    assert large.scores("cat", np.empty(0, dtype=np.int64)).shape == (0,)
    assert large.scores("the of", np.array([3, 1])).tolist() == [0, 0]
    assert large.scores("nosuchword", np.array([3])).tolist() == [0]


def test_scores_are_the_same_however_documents_are_named(large: LexicalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A term for each of few documents, or a set of terms for many: to the bit."""
    rows = np.random.default_rng(0).permutation(500)[:200]
    one_by_one = large.scores("cat dog garden", rows)
    monkeypatch.setattr(search, "MAX_SINGLE_TERMS", 0)
    assert (large.scores("cat dog garden", rows) == one_by_one).all()
    assert one_by_one.any()


@pytest.mark.parametrize("query", ["", " ", "the of and", "?!.,;", "\x00", "🙂", "\n\t", "nosuchword"])
def test_queries_without_terms(english: LexicalIndex, query: str) -> None:
    """A query of stop words, punctuation or nothing has no hits and is no error."""
    scores, rows = english.search(query, 10)
    assert (scores.shape, rows.shape) == ((0,), (0,))


@pytest.mark.parametrize(
    "query",
    [
        'body:cat "', "AND (cat", "cat OR", "-cat", "+cat", "cat~2", "cat*", "[cat TO dog]", "{cat}", "cat^3", "/cat/",
        "\\cat", '"cat', "document:0 cat", "cat:", "(((cat", "cat && ||", "IN [cat]",
    ],
)  # fmt: skip
def test_query_syntax_is_text(english: LexicalIndex, query: str) -> None:
    """There is no query language: its operators are ignored, and its keywords are words."""
    assert 0 in find_rows(english, query)


def test_very_long_queries(english: LexicalIndex) -> None:
    """Queries as long as a document, or of thousands of different words, are answered."""
    assert set(find_rows(english, " ".join(ENGLISH))) == set(range(6))
    many = " ".join(f"word{number}" for number in range(5000)) + " queen"
    assert find_rows(english, many) == [3]
    assert find_rows(english, "x" * 100_000 + " queen") == [3]


def test_repeated_words_count_once(english: LexicalIndex) -> None:
    """A repeated word in a query has no more weight than the others."""
    assert english.terms("cat Cats cat the dog") == ["cat", "dog"]
    assert np.allclose(english.search("cat cat cat dog", 10)[0], english.search("cat dog", 10)[0])


def test_opening_writes_nothing_beside_the_files(tmp_path: Path) -> None:
    """An artifact is immutable and may be mounted read-only: opening and searching leave its folder as it was."""
    folder = tmp_path / "lexical"
    first = make(folder, ENGLISH)
    before = {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert "meta.json" in before
    assert not [name for name in before if name.endswith(".lock")]
    again = LexicalIndex.open(folder, "en")
    for index in (first, again):
        assert find_rows(index, "queen") == [3]
        assert index.scores("queen", np.arange(6)).argmax() == 3
    assert {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()} == before


def test_an_opened_index_survives_the_removal_of_its_folder(tmp_path: Path) -> None:
    """Pruning an index that is still open does not disturb running queries."""
    folder = tmp_path / "lexical"
    index = make(folder, ENGLISH)
    for path in folder.iterdir():
        path.unlink()
    assert find_rows(index, "queen") == [3]
    assert index.scores("garden", np.arange(6)).nonzero()[0].tolist() == [0, 5]


def test_from_eight_threads(large: LexicalIndex) -> None:
    """Several threads at once get the results of a single one."""
    queries = [f"{one} {other}" for one in WORDS[20:40] for other in WORDS[40:50]]
    alone = [large.search(query, 20)[1].tolist() for query in queries]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda query: find_rows(large, query, 20), queries)) == alone


def test_the_same_texts_give_the_same_ranking(tmp_path: Path) -> None:
    """Two indexes of the same texts rank equally: documents with equal scores come in the order of their rows."""
    texts = ["cat dog"] * 30
    rankings = [make(tmp_path / str(turn), texts).search("dog", 20)[1].tolist() for turn in range(2)]
    assert rankings[0] == rankings[1] == list(range(20))


def test_unknown_language_is_refused(tmp_path: Path) -> None:
    """An unknown language is refused, and the error names the flag."""
    with pytest.raises(UserError, match="--language xx"):
        LexicalWriter(tmp_path / "lexical", "xx")


@pytest.mark.parametrize(
    ("documents", "commits"), [(0, None), (1, 1), (20_000, 1), (20_001, 8), (160_001, 64), (1_000_000, 64)]
)
def test_commits_are_of_one_size(documents: int, commits: int | None) -> None:
    """There are 1, 8, 64, … commits, all but the last of one size; where the number is not known, of the largest size."""
    size = commit_size(documents)
    assert 0 < size <= 20_000
    assert -(-documents // size) == (commits or 0)


@pytest.mark.parametrize("said", [24_000, 0])
def test_one_segment_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: int) -> None:
    """A writer that knows the number of documents leaves one segment; all documents are found in their rows."""
    monkeypatch.setattr("indexer.index.lexical.writer.MOST_COMMITTED", 3_000 if said else 2_900)
    with LexicalWriter(tmp_path / "lexical", "en", documents=said) as writer:
        for row in range(24_000):
            writer.add([f"word{row % 1000} number{row}"])
            if row % 1_000 == 999:
                writer.add([])
    index = LexicalIndex.open(tmp_path / "lexical", "en")
    assert len(index) == 24_000
    assert (index._searcher.num_segments == 1) is (said > 0)
    assert [index.search(f"number{row}", 3)[1].tolist() for row in (0, 2_999, 3_000, 23_999)] == [
        [0],
        [2_999],
        [3_000],
        [23_999],
    ]
    assert sorted(index.search("word7", 50)[1].tolist()) == list(range(7, 24_000, 1000))


@pytest.mark.parametrize("texts", [["constant tram", "verse", "a b c d"], ["xx yy", "zz"], ["雪が降る", "猫"], [""]])
def test_the_average_length_needs_no_particular_term(tmp_path: Path, texts: list[str]) -> None:
    """Whatever the words begin with, the average length is that of the texts; of no terms at all it is 1."""
    index = make(tmp_path / "lexical", texts, "none")
    for name, _, analyzer in index.fields():
        if name == "title":  # no document has one
            assert index.average_length(name) == 1.0
            continue
        lengths = [len(analyzer.analyze(text)) for text in texts]
        assert index.average_length(name) == pytest.approx(sum(lengths) / len(texts) or 1.0, abs=0.01)
