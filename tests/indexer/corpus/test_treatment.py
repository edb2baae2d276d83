"""Treatment of documents: HTML becomes text where a column holds it, and texts with several values become lists."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from indexer.corpus.corpus import Corpus
from indexer.corpus.values.lists import split_list
from indexer.corpus.values.markup import share_with_markup, to_text
from indexer.errors import UserError

CODE = ["if a < b: return", "std::vector<T> items;", "x <- y; Map<String, List<b>>", "<alice@example.org> wrote"]


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>Solid <b>oak</b>&nbsp;table.</p><ul><li>120 &times; 80</li><li>2 years</li></ul>", "Solid oak table.\n\n120 × 80\n2 years"),
        ("one<br/>two<BR>three", "one\ntwo\nthree"),
        ("fo<b>o</b>bar", "foobar"),
        ("Black &amp; Decker", "Black & Decker"),
        ("first line\nof <em>two</em>", "first line\nof two"),
        ("<p>List<T> is a < b, if (a<b && c>d)</p>", "List<T> is a < b, if (a<b && c>d)"),
        ("<script>alert(1)</script><style>p {}</style><!-- no -->seen", "seen"),
        ("<pre>def f():\n    pass</pre>", "def f():\n    pass"),
        ("a &lt;b&gt; c", "a <b> c"),
        ("plain\ttext  as it is\n", "plain\ttext  as it is\n"),
        ("<table><tr><td>wide</td><td>5 cm</td></tr></table>", "wide 5 cm"),
        ("<p> </p>", ""),
    ],
)  # fmt: skip
def test_markup_becomes_what_a_reader_sees(markup: str, text: str) -> None:
    """Blocks are breaks, entities characters; what only looks like a tag stays."""
    assert to_text(markup) == text


@pytest.mark.parametrize("text", [*CODE, "a & b", "AT&T; x"])
def test_what_is_no_markup_stays(text: str) -> None:
    """Comparisons, generics and addresses are no markup, neither for the detection nor for the conversion."""
    assert share_with_markup([text]) == 0
    assert to_text(text) == text


@pytest.mark.parametrize("text", ["<a" * 50_000, "<a " * 50_000, "<b>" * 50_000, '<a x="' * 50_000, "&" * 200_000])
def test_long_broken_markup_takes_no_time(text: str) -> None:
    """No pattern tries the same characters again and again: this test would not end."""
    share_with_markup([text])
    assert isinstance(to_text(text), str)


def corpus(path: Path, texts: list[str], titles: list[str] | None = None, **options: str) -> list[tuple[str, str]]:
    """Return titles and texts as a corpus has them."""
    rows = [
        {"id": str(row), "title": title, "text": text}
        for row, (title, text) in enumerate(zip(titles or ["t"] * len(texts), texts, strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    checked = Corpus.check(str(path), **options)  # type: ignore[arg-type]
    return [(row["title"], row["text"]) for batch in checked.batches() for row in batch.to_pylist()]


def test_a_column_of_html_is_found_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One text of ten is enough; the others stay as they are, and the titles of such a corpus are read alike."""
    texts = ["<p>words</p>", *CODE, *CODE]
    read = corpus(tmp_path / "a.jsonl", texts, ["Tom &amp; Jerry", *["t"] * 8])
    assert read == [("Tom & Jerry", "words"), *(("t", text) for text in CODE * 2)]
    assert "HTML of 'title' and 'text' was turned into text (--markup keep leaves it)" in capsys.readouterr().err


def test_a_column_about_html_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A text of thirty that has a tag is about HTML."""
    texts = ["use <b>bold</b>", *CODE * 7]
    assert [text for _, text in corpus(tmp_path / "a.jsonl", texts)] == texts
    assert "HTML" not in capsys.readouterr().err


def test_the_setting_decides(tmp_path: Path) -> None:
    """`keep` leaves all markup, `strip` takes all."""
    texts = ["<p>words</p>", "more"]
    assert corpus(tmp_path / "a.jsonl", texts, markup="keep")[0][1] == "<p>words</p>"
    texts = ["use <b>bold</b>", *CODE * 7]
    assert corpus(tmp_path / "a.jsonl", texts, markup="strip")[0][1] == "use bold"


def test_a_text_of_nothing_but_markup_is_empty(tmp_path: Path) -> None:
    """A row is checked as it is indexed."""
    with pytest.raises(UserError, match=r"row 2 .*empty text"):
        corpus(tmp_path / "a.jsonl", ["<p>words</p>", "<p><br></p>"])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("oak, dining;outdoor | new", ["oak", "dining", "outdoor", "new"]),
        ('["Free wifi, fast", "Pool"]', ["Free wifi, fast", "Pool"]),
        ("['a', 'b']", ["a", "b"]),
        ('{a,"b c"}', ["a", "b c"]),
        ("one", ["one"]),
        (" , ", []),
        ("[]", []),
        (None, None),
    ],
)
def test_a_text_of_several_values_is_a_list(text: str | None, values: list[str] | None) -> None:
    """Commas, semicolons and bars separate values; lists as JSON, Python and PostgreSQL write them are read."""
    assert split_list(text) == values


def test_list_columns_are_lists(tmp_path: Path) -> None:
    """Named columns become lists of texts, also where a CSV reader takes all values for numbers."""
    path = tmp_path / "a.csv"
    path.write_text('id,text,tags,sizes\n1,a,"red, big",38\n2,b,,39\n')
    checked = Corpus.check(str(path), list_columns="tags, sizes")
    assert checked.schema.field("metadata").type.field("tags").type == pa.list_(pa.string())
    assert next(checked.batches()).column("metadata").to_pylist() == [
        {"tags": ["red", "big"], "sizes": ["38"]},
        {"tags": None, "sizes": ["39"]},
    ]
    assert checked.treatment.config() == {"lists": ["tags", "sizes"]}


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("tgas", "no metadata column 'tgas' among 'tags', 'price'"),
        ("price", "holds double, not texts"),
        ("tags,,price", "a name is empty"),
    ],
)
def test_wrong_list_columns_are_refused(tmp_path: Path, names: str, problem: str) -> None:
    """A name without a column, and a column without texts, are named with the flag."""
    path = tmp_path / "a.csv"
    path.write_text("id,text,tags,price\n1,a,red,1.5\n")
    with pytest.raises(UserError, match=f"--list-columns.*{problem}"):
        Corpus.check(str(path), list_columns=names)
