"""What columns look like: `inspect` names the command that takes them, and `build` says what it took without flags."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from products import write_products
from typer.testing import CliRunner

from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.cli import app
from indexer.corpus.corpus import Corpus
from indexer.corpus.guess import guess
from indexer.corpus.inspect import inspect
from indexer.errors import UserError


def table(path: Path, rows: list[dict[str, str]]) -> str:
    """Write a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a shop's CSV file of 2,000 products."""
    path = tmp_path_factory.mktemp("shop") / "shop.csv"
    write_products(path)
    return path


def test_the_shop_is_understood(shop: Path) -> None:
    """Ids, titles, texts, lists and what is searched beside them are found by names and values; nothing else is."""
    found = inspect(str(shop)).guess
    assert (found.id, found.title, found.text) == ("sku", "name", "description")
    assert (found.lists, found.exact, found.search) == (("tags",), (), ("brand", "colour", "tags"))
    assert found.html


def test_the_named_command_builds(shop: Path, tiny_data: Path, tmp_path: Path) -> None:
    """The printed command can be run as it stands, and its index has words instead of tags, and single tags."""
    result = CliRunner().invoke(app, ["inspect", str(shop)])
    assert result.exit_code == 0, result.output
    for column in ("sku", "description", "released"):
        assert any(line.startswith(column) for line in result.stdout.splitlines())
    *_, learn, command = result.stdout.splitlines()
    flags = ["--id-column", "sku", "--title-column", "name", "--text-column", "description", "--list-columns", "tags"]
    assert shlex.split(command)[:5] == ["python", "-m", "indexer", "build", str(shop)]
    assert shlex.split(command)[5:13] == flags
    assert shlex.split(learn)[1:13] == ["-m", "trainer", "run", str(shop), *flags]
    data = shutil.copytree(tiny_data, tmp_path / "data")
    done = CliRunner().invoke(app, [*shlex.split(command)[3:], "--limit", "40"], env={"DOWSE_DATA": str(data)})
    assert done.exit_code == 0, done.output
    assert "HTML of 'description' was turned into text" in done.stderr


def test_no_command_has_a_flag_that_its_program_lacks(shop: Path) -> None:
    """Settings that a program does not have are left out of its command."""
    command = inspect(str(shop)).command("indexer build", {"id_column"})
    assert command == f"python -m indexer build {shop} --id-column sku"


def test_rows_without_text_are_named_and_skipped(tmp_path: Path) -> None:
    """Where a build would refuse rows, the command leaves them out and a sentence says so."""
    rows = [{"id": str(row), "text": f"some words of row {row}" if row else ""} for row in range(5)]
    found = inspect(table(tmp_path / "a.csv", rows))
    assert list(found.remarks()) == ["1 rows have no text; leave them out with --skip-bad-rows"]
    assert found.command("indexer build", BuildSettings.model_fields).endswith("a.csv --skip-bad-rows")


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("kinds", ["oak; new", "oak", "oak;sale", "new"] * 3, "lists"),
        ("amenities", ['["Free wifi, fast", "Pool"]', '["Pool"]', "[]", '["Pool", "Bar", "Sea"]'] * 3, "lists"),
        ("place", ["Lisbon, Portugal", "Porto, Portugal", "Madrid, Spain", "Lisbon, Portugal"] * 3, "search"),
        ("signature", ["(self)", "(self, name)", "(name, value)", "(self)"] * 3, "search"),
        ("range", ["1,5", "2,5", "1,5", "3"] * 3, ""),
        ("barcode", [f"40012345{row:05}" for row in range(12)], "exact"),
        ("page", [f"https://shop.example/{row}" for row in range(12)], ""),
        ("size", ["S", "M", "L", "M"] * 3, ""),
        ("model", [f"XR-{row}500" for row in range(12)], "exact"),
    ],
)
def test_what_a_column_looks_like(tmp_path: Path, column: str, values: list[str], kind: str) -> None:
    """Lists vary in length and their values repeat; codes differ in nearly every row; categories repeat and are words."""
    rows = [{"id": str(row), "text": f"words of row {row}", column: value} for row, value in enumerate(values)]
    found = inspect(table(tmp_path / "a.csv", rows)).guess
    assert [name for name in ("lists", "exact", "search") if column in getattr(found, name)] == (
        ["lists", "search"] if kind == "lists" else [kind] if kind else []
    )


GERMAN = ("Artikelnr", "Artikelbezeichnung", "Produktbeschreibung", "Marke")
ELSEWHERE = ("référence", "intitulé", "résumé", "marque")
UNNAMED = ("a", "b", "c", "d")


@pytest.mark.parametrize("names", [GERMAN, ELSEWHERE, UNNAMED], ids=["German", "French", "unknown"])
def test_columns_of_other_languages(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Ids, titles and texts are found by the names that others give them, and by their values alone."""
    rows = [
        dict(
            zip(
                names,
                (f"XR-{row}500", f"Kvist Stehlampe Pro {row}", f"Eine Lampe mit Schirm für Raum {row}. " * 3, brand),
                strict=True,
            )
        )
        for row, brand in enumerate(["Kvist", "Oxlo", "Brandner"] * 4)
    ]
    found = inspect(table(tmp_path / "a.csv", rows)).guess
    assert (found.id, found.title, found.text, found.search) == (names[0], names[1], names[2], names[3:])


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("author", ["Jane Doe", "John Roe", "Ann Poe", "Max Moe", "Eva Coe", "Jim Noe"]),
        ("page", [f"https://shop.example/a b c {row}" for row in range(6)]),
        ("kinds", ["big oak;red", "big oak;new", "red;new", "red", "big oak", "new"] * 2),
        ("state", ["in stock and new", "not in stock", "in stock and used"] * 2),
        ("note", ["to be checked by somebody soon", "", "", "", "as new as can be", ""]),
    ],
)
def test_what_is_no_title(tmp_path: Path, column: str, values: list[str]) -> None:
    """Names of persons, addresses, lists, what repeats and what is mostly empty are not taken for titles."""
    text = "a sentence that is long enough to be a text, and has more words than any title {}"
    rows = [{column: value, "text": text.format(row)} for row, value in enumerate(values)]
    assert inspect(table(tmp_path / "a.csv", rows)).guess.title is None


def test_a_price_is_no_id(tmp_path: Path) -> None:
    """Numbers that happen to differ are no ids: row numbers are taken, and said."""
    rows = [{"price": str(10 + row), "text": f"words of row {row}"} for row in range(5)]
    found = inspect(table(tmp_path / "a.csv", rows))
    assert found.guess.id is None
    assert list(found.remarks()) == ["no column has unique ids: they will be row numbers"]


def test_a_database_is_inspected(tmp_path: Path) -> None:
    """The rows of a statement are a corpus like any other, and the command names the statement."""
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("create table t (sku text, about text)")
        connection.executemany(
            "insert into t values (?, ?)", [(f"AB-{n}77", f"a thing of number {n}") for n in range(5)]
        )
    query = "select * from t order by sku"
    found = inspect(f"sqlite:///{tmp_path}/shop.db", query, data=tmp_path)
    command = shlex.split(found.command("indexer build", BuildSettings.model_fields))
    assert command[5:] == ["--query", query, "--id-column", "sku", "--text-column", "about"]


def test_a_missing_text_column_is_named(shop: Path) -> None:
    """Without the right flag nothing is built, and the error says which column looks like the text."""
    with pytest.raises(
        UserError, match=r"name the right one with --text-column, such as 'description'; .*indexer inspect"
    ):
        Corpus.check(str(shop))


def test_build_says_what_it_took(tmp_path: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without flags the build names what it did not use; with them it says nothing."""
    rows = [
        {"sku": f"A-{row}00", "name": f"Cat {row}", "text": f"the cat sits {row} times", "tags": "red, big" if row % 2 else "red"}
        for row in range(12)
    ]  # fmt: skip
    path = table(tmp_path / "a.csv", rows)
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    build(path, BuildSettings(language="en"), data)
    said = capsys.readouterr().err
    assert "no column 'id': ids are row numbers; 'sku' is unique, use --id-column sku" in said
    assert "no column 'title': no titles; 'name' looks like one, use --title-column name" in said
    assert "'tags' looks like a list, use --list-columns tags" in said
    build(path, BuildSettings(language="en", id_column="sku", title_column="name", list_columns="tags"), data)
    assert "use --" not in capsys.readouterr().err


def test_dates_in_json_lines_are_dates(tmp_path: Path) -> None:
    """Texts that are all dates in ISO 8601 are dates, as in CSV; where one is none, all stay texts."""
    rows = [
        {"id": 1, "text": "a", "day": "2026-01-31", "at": "2026-01-31T10:00:00Z", "local": "2026-01-31 10:00", "odd": "2026-02-30"},
        {"id": 2, "text": "b", "day": None, "at": "2026-02-01T10:00:00+02:00", "local": "2026-01-31", "odd": "2026-02-28"},
        {"id": 3, "text": "c", "day": "2026-02-01", "at": None, "local": None, "odd": None},
    ]  # fmt: skip
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = Corpus.check(str(path))
    kinds = {field.name: field.type for field in corpus.schema.field("metadata").type}
    assert kinds == {
        "day": pa.date32(), "at": pa.timestamp("us", "UTC"), "local": pa.timestamp("us"), "odd": pa.string(),
    }  # fmt: skip
    [first, second, _] = next(corpus.batches()).column("metadata").to_pylist()
    assert str(first["day"]) == "2026-01-31" and str(second["at"]) == "2026-02-01 08:00:00+00:00"


def test_dates_that_end_late_stay_text(tmp_path: Path) -> None:
    """The type holds for every row: one text that is no date, far behind, makes all of them texts."""
    path = tmp_path / "a.jsonl"
    days = ["2026-01-31"] * 3000 + ["soon"]
    path.write_text("".join(json.dumps({"text": "a", "day": day}) + "\n" for day in days))
    assert Corpus.check(str(path)).schema.field("metadata").type.field("day").type == pa.string()


def test_parquet_lists_need_no_flag(tmp_path: Path) -> None:
    """A column that holds lists already is no guess."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x y z", "z y x"], "tags": [["p"], ["q", "p"]]}), path)
    assert guess(Corpus.check(str(path)).profile()).flags() == {}
