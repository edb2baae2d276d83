"""Searched and exact columns: in the index, in live documents and after a compaction; what is wrong is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shop import SYNONYMS, build_shop, shop_rows, words_of

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.filters.evaluate import compile_filter, restrict
from indexer.filters.filter import Filter
from indexer.index.index import Index
from indexer.index.terms.rules import read_rules
from indexer.live.log import WriteLog
from indexer.live.prepare import NewDocument, Preparer, apply_writes, replay_writes
from indexer.live.write import Write
from indexer.retrieval.retriever import Mode, Retriever

ROWS = shop_rows()
MODES: tuple[Mode, ...] = ("hybrid", "dense", "lexical")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Index:
    """Return the shop's index."""
    return Index.open(Store("index", build_shop(tmp_path_factory.mktemp("shop") / "data", tiny_data)).resolve())


def found(index: Index, query: str, mode: Mode = "lexical", **options: object) -> list[str]:
    """Return the ids that a query finds, best first."""
    ranking = Retriever(index).search(query, mode, **options)  # type: ignore[arg-type]
    return [document.id for document in index.documents(ranking.rows)]


def test_columns_are_searched_with_their_weight(shop: Index) -> None:
    """A word of a column finds its documents; `lexical_parts` says what each field adds, and the sum is the score."""
    retriever = Retriever(shop)
    brand, tag = str(ROWS[0]["brand"]), str(ROWS[0]["tags"][0])  # type: ignore[index]
    for query in (brand, tag, f"{brand} {tag}"):
        words = query.lower().split()
        expected = {str(row["id"]) for row in ROWS if any(word in words_of(row) for word in words)}
        assert set(found(shop, query)) == expected
        ranking = retriever.search(query, "lexical")
        for score, parts in zip(
            ranking.scores, retriever.lexical_parts(ranking, range(len(ranking.rows))), strict=True
        ):
            assert sum(parts.values()) == pytest.approx(score, rel=1e-4)
    (best,) = retriever.lexical_parts(retriever.search(tag, "lexical"), [0])
    assert best["column:tags"] > 0
    assert "column:brand" not in best


def test_a_weight_multiplies(tmp_path: Path, tiny_data: Path) -> None:
    """With twice the weight a column adds twice the score."""
    brand, parts = str(ROWS[0]["brand"]), []
    for number, columns in enumerate(("brand", "brand^2")):
        data = build_shop(tmp_path / str(number), tiny_data, search_columns=columns)
        retriever = Retriever(Index.open(Store("index", data).resolve()))
        parts.append(retriever.lexical_parts(retriever.search(brand, "lexical"), [0])[0]["column:brand"])
    assert parts[1] == pytest.approx(2 * parts[0], rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_an_id_or_an_exact_value_comes_first(shop: Index, mode: Mode) -> None:
    """In every mode, whatever the case and the blanks around it; a filter still applies."""
    for row in ROWS[::7]:
        for value in (row["id"], row["sku"], row["ean"]):
            for query in (str(value), f"  {str(value).lower()} "):
                assert found(shop, query, mode)[0] == row["id"], query
    ranking = Retriever(shop).search(str(ROWS[5]["sku"]), mode)
    assert ranking.exact is not None
    assert ranking.exact.tolist() == [True] + [False] * (len(ranking.rows) - 1)
    assert Retriever(shop).search(f"{ROWS[5]['sku']} x", mode).exact is None
    assert found(shop, "P-005", mode, exact=False)[:1] != ["P-005"] or mode == "lexical"
    without = Filter.model_validate({"must_not": [{"field": "id", "eq": "P-005"}]})
    assert "P-005" not in found(shop, "p-005", mode, allowed=compile_filter(without, shop))
    assert "P-005" not in found(restrict(without, shop), "p-005", mode)  # type: ignore[arg-type]


def test_live_documents_have_columns_and_values(shop: Index) -> None:
    """A live copy of a document scores as the one in the index, and exact values are those of the last version."""
    row = ROWS[3]
    metadata = {name: row[name] for name in ("brand", "tags", "sku", "ean")}
    copy = NewDocument("copy", str(row["title"]), str(row["text"]), metadata | {"sku": "NEW-1"})
    changed = NewDocument("P-004", "Other", "Another text", {"sku": "NEW-2"})
    preparer = Preparer(shop)
    live = apply_writes(shop, [Write(1, preparer.recipe, tuple(preparer.prepare([copy, changed])), (), "now")])
    retriever = Retriever(live)
    for query in (str(row["brand"]), " ".join(row["tags"]), str(row["title"])):  # type: ignore[arg-type]
        ranking = retriever.search(query, "lexical")
        scores = {live.document(int(at)).id: score for at, score in zip(ranking.rows, ranking.scores, strict=True)}
        assert scores["copy"] == pytest.approx(scores["P-003"], rel=1e-5)
        parts = {live.document(int(at)).id: part for at, part in zip(ranking.rows, retriever.lexical_parts(ranking, range(len(ranking.rows))), strict=True)}  # fmt: skip
        assert parts["copy"] == pytest.approx(parts["P-003"], rel=1e-4)
    for mode in MODES:
        assert found(live, "new-1", mode)[0] == "copy"
        assert found(live, "new-2", mode)[0] == "P-004"
        assert found(live, "p-004", mode)[0] == "P-004"
        assert retriever.search(str(ROWS[4]["sku"]), mode).exact is None


def test_a_compaction_keeps_columns_values_and_rules(tmp_path: Path, tiny_data: Path) -> None:
    """The new index has the same settings, the live documents' words and values, and the copy of the rules."""
    data = build_shop(tmp_path / "data", tiny_data)
    base = Index.open(Store("index", data).resolve())
    preparer = Preparer(base)
    new = NewDocument("new", "Airship", "It flies.", {"brand": "Zorbal", "sku": "NEW-1", "tags": ["sky"]})
    log = WriteLog(data)
    with log.locked():
        log.read()
        log.append(Write(1, preparer.recipe, tuple(preparer.prepare([new])), (), "now"))
    live = replay_writes(base, WriteLog(data).read())
    (data / "synonyms.txt").unlink()
    assert compact(data).fresh
    compacted = Index.open(Store("index", data).resolve())
    assert compacted.manifest.config["search_columns"] == "brand^2,tags"
    for query in ("zorbal", "sky", "new-1", "couch", str(ROWS[0]["brand"])):
        assert set(found(compacted, query)) == set(found(live, query)) != set()
    assert found(compacted, "new-1")[0] == "new"
    assert (compacted.folder / "synonyms.txt").read_text(encoding="utf-8") == SYNONYMS


def test_the_encoder_gets_columns_on_request(tmp_path: Path, tiny_data: Path) -> None:
    """Their texts stand behind the title of each passage: in a build, in live documents, and after a compaction."""
    data = build_shop(tmp_path / "data", tiny_data)
    plain = Index.open(Store("index", data).resolve())
    build_shop(data, tiny_data, encode_columns="brand,tags")
    index = Index.open(Store("index", data).resolve())
    row = ROWS[3]
    head = ", ".join([str(row["title"]), str(row["brand"]), *row["tags"]])  # type: ignore[misc]
    assert index.passage_texts(3)[0] == f"{head} {row['text']}"
    assert plain.passage_texts(3)[0] == f"{row['title']} {row['text']}"
    assert not np.allclose(index.passage_vectors(np.array([3]))[0], plain.passage_vectors(np.array([3]))[0])
    preparer = Preparer(index)
    assert preparer.recipe != Preparer(plain).recipe
    copy = NewDocument("copy", str(row["title"]), str(row["text"]), {"brand": row["brand"], "tags": row["tags"]})
    log = WriteLog(data)
    with log.locked():
        log.read()
        log.append(Write(1, preparer.recipe, tuple(preparer.prepare([copy])), (), "now"))
    assert compact(data).manifest.counts["embedded"] == 0
    compacted = Index.open(Store("index", data).resolve())
    (first,), (second,) = (compacted.passage_vectors(np.array([compacted.row_of(name)])) for name in ("copy", "P-003"))
    assert np.allclose(first, second, atol=1e-6)


def test_row_numbers_are_not_looked_up(tmp_path: Path, tiny_data: Path) -> None:
    """Where nobody has given ids, a number in a query puts no document first."""
    rows = [{name: value for name, value in row.items() if name != "id"} for row in ROWS]
    data = build_shop(tmp_path / "data", tiny_data, rows)
    index = Index.open(Store("index", data).resolve())
    assert index.row_of("7") is not None
    assert Retriever(index).search("7", "lexical").exact is None
    assert Retriever(index).search("4000007", "lexical").exact is not None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"search_columns": "brnd"}, "--search-columns: no column 'brnd'.* brand, ean, sku, tags"),
        ({"search_columns": "brand^x"}, r"'brand\^x' is not understood"),
        ({"search_columns": "brand,brand"}, "each once"),
        ({"search_columns": "brand^0"}, "above 0"),
        ({"exact_columns": "sku,"}, "--exact-columns sku,: a name is empty"),
        ({"encode_columns": ",brand"}, "--encode-columns ,brand: a name is empty"),
        (
            {"encode_columns": "ean"},
            "--encode-columns: no column 'ean' of texts or lists of them; there is: brand, sku, tags",
        ),
        ({"exact_columns": "no"}, "--exact-columns: no column 'no'"),
        ({"synonyms": Path("missing.txt")}, "missing.txt: cannot be read"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, tiny_data: Path, settings: dict[str, object], said: str
) -> None:
    """The error names the flag or the file, and what there is; nothing is built."""
    with pytest.raises(UserError, match=said):
        build_shop(tmp_path / "data", tiny_data, **settings)
    assert not Store("index", tmp_path / "data").ids()


@pytest.mark.parametrize(
    ("text", "line"), [("a, b\nalone\n", 2), ("# a\n\na => \n", 3), ("a,, b", 1), ("a => b => c", 1), (" => b", 1)]
)
def test_a_bad_rule_names_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    """So that it can be mended."""
    path = tmp_path / "rules.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"rules.txt:{line}: .*write `a, b` for both ways"):
        read_rules(path)


def test_changed_rules_make_another_index(tmp_path: Path, tiny_data: Path) -> None:
    """The content of the files is part of what an index is made of; their path is not."""
    data = build_shop(tmp_path / "data", tiny_data)
    source = str(data / "shop.parquet")
    moved = tmp_path / "moved.txt"
    moved.write_text(SYNONYMS, encoding="utf-8")
    settings = BuildSettings(
        language="en", dense_weight=0.5, search_columns="brand^2,tags", exact_columns="sku,ean", synonyms=moved
    )
    assert not build(source, settings, data).fresh
    moved.write_text("a, b", encoding="utf-8")
    assert build(source, settings, data).fresh
