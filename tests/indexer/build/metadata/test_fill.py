"""`--extract`: empty cells are filled from the texts, where that is measured to be right often enough."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from products import write_products

from indexer.build.build import build
from indexer.build.metadata.fill import FilledDocuments, fill_attributes
from indexer.build.metadata.grams import MAX_WORDS, Vocabulary
from indexer.build.metadata.measure import measure_rules
from indexer.build.metadata.rules import MIN_ROWS, learn_rules, lower_bound
from indexer.build.metadata.settings import ExtractSettings
from indexer.build.settings import BuildSettings
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.index.index import Index


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Return a shop's CSV file and its rows, which say what the empty cells would hold."""
    path = tmp_path_factory.mktemp("shop") / "products.csv"
    return path, write_products(path, seed=3)


def read(path, **options) -> Corpus:
    """Check the shop's file as a corpus."""
    return Corpus.check(str(path), id_column="sku", title_column="name", text_column="description", **options)


def metadata(documents: FilledDocuments | Corpus) -> list[dict[str, object]]:
    """Return the metadata of all documents."""
    return [row for batch in documents.batches() for row in batch.column("metadata").to_pylist()]


def test_empty_cells_get_what_the_text_says(shop):
    """Brand and colour of 2,000 products: all filled cells are right, and no cell that had a value changes."""
    path, rows = shop
    corpus = read(path)
    filled = fill_attributes(corpus, ExtractSettings(extract="brand,colour"))
    before, after = metadata(corpus), metadata(filled)
    for name in ("brand", "colour"):
        kept = [(old[name], new[name]) for old, new in zip(before, after, strict=True) if old[name]]
        assert all(old == new for old, new in kept)
        cells = [(new[name], row[f"_{name}"]) for new, row in zip(after, rows, strict=True) if not row[name]]
        right = sum(new == truth for new, truth in cells)
        assert right >= 0.95 * sum(new is not None for new, _ in cells)
        assert right >= 0.95 * len(cells)
        assert filled.filled[name] == sum(new is not None for new, _ in cells)
    assert [set(old) for old in before] == [set(new) for new in after]


def test_what_cannot_be_told_from_the_text_stays_empty(shop, capsys):
    """Whether an article number or a colour by chance stands in a column, nothing is filled, and that is said."""
    path, rows = shop
    table = pa.Table.from_pylist([{"id": row["sku"], "text": row["description"]} for row in rows])
    draw = np.random.default_rng(1)
    chance = [None if draw.random() < 0.3 else str(draw.choice(["left", "right"])) for _ in rows]
    pq.write_table(table.append_column("side", pa.array(chance)), path.with_suffix(".parquet"))
    corpus = Corpus.check(str(path.with_suffix(".parquet")))
    assert [row["side"] for row in metadata(fill_attributes(corpus, ExtractSettings(extract="side")))] == chance
    assert (
        "side: stays as it is; nothing in the texts says its values surely enough (none of" in capsys.readouterr().err
    )


def test_few_known_values_are_not_enough(shop, capsys):
    """With 30 rows a precision of .95 cannot be shown."""
    path, _ = shop
    corpus = read(path, limit=30)
    assert metadata(fill_attributes(corpus, ExtractSettings(extract="brand"))) == metadata(corpus)
    assert "rows have a value; 110 are needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "message"), [("size", "has no such column; .*: brand, "), ("price", "holds double")]
)
def test_a_column_that_cannot_be_filled_is_refused(shop, column, message):
    """The message names the column, and what there is."""
    with pytest.raises(UserError, match=f"--extract {column}: the c.*{message}"):
        fill_attributes(read(shop[0], limit=50), ExtractSettings(extract=column))


def test_an_index_has_the_filled_cells(shop, tiny_data, tmp_path):
    """They are metadata like any other; the manifest counts them."""
    path, rows = shop
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    settings = BuildSettings(
        id_column="sku",
        title_column="name",
        text_column="description",
        limit=400,
        extract="brand, colour",
        dense_weight=0.5,
    )
    result = build(str(path), settings, data, live=False)
    with_index = Index.open(data / "indexes" / result.manifest.id)
    documents = with_index.documents(np.arange(400))
    right = [document.metadata["brand"] == row["_brand"] for document, row in zip(documents, rows, strict=False)]
    assert sum(right) >= 0.95 * 400
    (note,) = [note for note in result.manifest.notes if note.startswith("brand: ")]
    assert note.endswith(f"; {sum(not row['brand'] for row in rows[:400])} filled")
    assert not build(str(path), settings, data, live=False).fresh
    assert build(str(path), settings.model_copy(update={"min_precision": 0.9}), data, live=False).fresh


def test_rules_need_rows_and_take_the_most_precise_run():
    """A run of words in two rows is no rule; a run that stands beside one value only beats its words."""
    vocabulary = Vocabulary()
    texts = ["green tea"] * 3 + ["green house"] * 6 + ["tea house"] * 3 + ["rare word"] * (MIN_ROWS - 1)
    values = np.array([0] * 3 + [1] * 6 + [1] * 3 + [2] * (MIN_ROWS - 1))
    rules = learn_rules([vocabulary.read([text], learn=True) for text in texts], values)
    said = {vocabulary.spell(gram): value for gram, value in zip(rules.grams, rules.values, strict=True)}
    assert said == {"green": 1, "tea": 0, "house": 1, "green tea": 0, "green house": 1, "tea house": 1}
    value, precision, gram = rules.apply(vocabulary.read(["A green tea, please"], learn=False))
    assert (value, vocabulary.spell(gram), precision) == (0, "green tea", pytest.approx(float(lower_bound(3, 3))))
    assert rules.apply(vocabulary.read(["nothing known"], learn=False)) == (-1, 0.0, 0)


def test_runs_do_not_cross_texts_or_unknown_words():
    """A title's last word and a text's first are no run; nor are words around one that is unknown."""
    vocabulary = Vocabulary()
    known = vocabulary.read(["red", "blue green"], learn=True)
    assert sorted(map(vocabulary.spell, known.tolist())) == ["blue", "blue green", "green", "red"]
    between = vocabulary.read(["blue strange green"], learn=False)
    assert sorted(map(vocabulary.spell, between.tolist())) == ["blue", "green"]
    assert not len(vocabulary.read(["", None], learn=True))
    assert len(vocabulary.read(["word " * (MAX_WORDS + 50)], learn=True)) == 3


def test_precision_is_measured_on_rows_that_the_rules_have_not_seen():
    """A run of words that stands in one row each cannot be right anywhere else: recall is 0, whatever is learned."""
    vocabulary = Vocabulary()
    documents = [vocabulary.read([f"word{number // 2}"], learn=True) for number in range(200)]
    assert not measure_rules(documents, np.arange(200) // 2, 0.95)[1].usable
