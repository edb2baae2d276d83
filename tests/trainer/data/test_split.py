"""The split of documents into train, dev and test, and near-duplicates."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from indexer.errors import UserError
from trainer.data.near_duplicates import near_duplicates, rows_per_band, signatures
from trainer.data.settings import SplitSettings
from trainer.data.split import SCHEMA, Split, split, split_source

WORDS = [f"word{number}" for number in range(2000)]


def make_documents(documents, seed=0):
    """Return ids and texts of random words; no two texts are near-duplicates."""
    rng = random.Random(seed)
    return [f"doc{number}" for number in range(documents)], [
        " ".join(rng.choices(WORDS, k=60)) for _ in range(documents)
    ]


def sides(result):
    """Return document → side."""
    return dict(zip(result.table["document"].to_pylist(), result.table["split"].to_pylist(), strict=True))


def replace_words(text, words, seed=0):
    """Return the text with some of its words replaced."""
    rng = random.Random(seed)
    parts = text.split()
    for position in rng.sample(range(len(parts)), words):
        parts[position] = f"other{position}"
    return " ".join(parts)


def test_sides_have_their_shares():
    """A tenth each for dev and test, every document on exactly one side, in the order of the corpus."""
    ids, texts = make_documents(2000)
    result = split(ids, texts, SplitSettings())
    counts = result.counts()
    assert counts["train"] + counts["dev"] + counts["test"] == 2000
    assert counts["groups"] == 2000
    assert 150 <= counts["dev"] <= 250 and 150 <= counts["test"] <= 250
    assert result.table["document"].to_pylist() == ids
    assert result.table.schema == SCHEMA


def test_sides_have_a_limit():
    """A large corpus has as many dev and test documents as the limits allow."""
    ids, texts = make_documents(2000)
    counts = split(ids, texts, SplitSettings(most_dev=40, most_test=50)).counts()
    assert (counts["dev"], counts["test"]) == (40, 50)


def test_the_seed_decides():
    """The same seed gives the same split, another seed another."""
    ids, texts = make_documents(300)
    first, again, other = (sides(split(ids, texts, SplitSettings(seed=seed))) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_documents_stay_on_their_side_when_the_corpus_grows():
    """No document moves from train to dev or test when the corpus grows, and the order does not matter."""
    ids, texts = make_documents(1500)
    before = sides(split(ids[:1000], texts[:1000], SplitSettings()))
    order = random.Random(1).sample(range(1500), 1500)
    after = sides(split([ids[row] for row in order], [texts[row] for row in order], SplitSettings()))
    assert all(after[document] == side for document, side in before.items())
    limited = SplitSettings(most_test=60, most_dev=60)
    before = sides(split(ids[:1000], texts[:1000], limited))
    after = sides(split(ids, texts, limited))
    assert all(after[document] == "train" for document, side in before.items() if side == "train")
    assert all(after[document] in {side, "train"} for document, side in before.items())


def test_near_duplicates_are_on_one_side():
    """An edited copy of a training text is not in test, where the model would have seen it."""
    ids, texts = make_documents(400)
    copies = [replace_words(text, 2, position) for position, text in enumerate(texts[:200])]
    result = split([*ids, *(f"copy{position}" for position in range(200))], [*texts, *copies], SplitSettings())
    side = sides(result)
    assert all(side[f"doc{position}"] == side[f"copy{position}"] for position in range(200))
    assert result.counts()["groups"] == 400
    group = dict(zip(result.table["document"].to_pylist(), result.table["group"].to_pylist(), strict=True))
    assert group["doc7"] == group["copy7"] != group["doc8"]


def test_texts_that_share_some_words_are_no_duplicates():
    """Below the threshold texts are apart, above it together; the threshold is the operator's."""
    text = make_documents(1)[1][0]
    texts = [text, replace_words(text, 8)]  # of 58 runs of three words some 36 remain: Jaccard about .45
    own = [{tuple(words[at : at + 3]) for at in range(len(words) - 2)} for words in (each.split() for each in texts)]
    jaccard = len(own[0] & own[1]) / len(own[0] | own[1])
    assert 0.3 < jaccard < 0.6
    assert near_duplicates(signatures(texts), 0.7).tolist() == [0, 1]
    assert near_duplicates(signatures(texts), 0.2).tolist() == [0, 0]


def test_links_are_followed():
    """If A is similar to B and B to C, all three are one group."""
    text = make_documents(1)[1][0]
    chain = [text]
    for step in range(4):
        words = chain[-1].split()
        words[10 * step : 10 * step + 6] = [f"new{step}{position}" for position in range(6)]
        chain.append(" ".join(words))
    assert near_duplicates(signatures([chain[0], chain[-1]]), 0.6).tolist() == [0, 1]
    assert near_duplicates(signatures(chain), 0.6).tolist() == [0] * 5


def test_many_copies_do_not_hide_others():
    """Ten thousand equal rows are one group, at once, and a near-duplicate of theirs is still found."""
    text = make_documents(1)[1][0]
    groups = near_duplicates(
        np.repeat(signatures([text, replace_words(text, 1), "another text of five words"]), [5000, 1, 1], axis=0), 0.7
    )
    assert Counter(groups.tolist()) == {0: 5001, 5001: 1}


def test_copies_do_not_separate_near_duplicates():
    """Two texts that share a single band are compared, even if many copies of a third text are in that band."""
    rng = np.random.default_rng(0)
    first, third = rng.integers(2**32, size=(2, 128), dtype=np.uint32)
    second = first.copy()
    rows = rows_per_band(0.7)
    second[rows::rows] += np.uint32(1)  # one number of each band but the first
    third[:rows] = first[:rows]
    assert 0.7 < (first == second).mean() < 0.9
    groups = near_duplicates(np.stack([first, *[third] * 100, second]), 0.7)
    assert groups.tolist() == [0, *[1] * 100, 0]


def test_scripts_without_spaces_are_compared_by_characters():
    """Chinese texts are compared by n-grams of characters."""
    text = "北京大学是中国最古老的大学之一学生们在北京学习历史和文学图书馆有很多书籍"
    other = "上海是中国最大的城市之一位于长江入海口人口超过两千万是重要的经济中心"
    assert near_duplicates(signatures([text, other, text + "。", "", "!"]), 0.7).tolist() == [0, 1, 0, 3, 4]


@pytest.mark.parametrize(("documents", "expected"), [(0, 0), (1, 0), (4, 0), (5, 1), (6, 1), (50, 10), (200, 30)])
def test_small_corpora(documents, expected):
    """A tiny corpus keeps most of its documents for training; a small one still has dev and test documents."""
    counts = split(*make_documents(documents), SplitSettings()).counts()
    assert counts["test"] >= expected and counts["dev"] >= expected
    assert counts["train"] >= 0.6 * documents


def test_a_large_group_is_trained_on():
    """A group of half the corpus is trained on: it would dominate the evaluation."""
    ids, texts = make_documents(100)
    for seed in range(5):
        result = split(ids, [texts[0]] * 50 + texts[50:], SplitSettings(seed=seed))
        assert {sides(result)[name] for name in ids[:50]} == {"train"}
        assert result.counts()["test"] == result.counts()["dev"] == 20


def test_no_evaluation_on_request():
    """With shares of zero all documents are trained on."""
    assert split(*make_documents(100), SplitSettings(dev=0, test=0)).counts()["train"] == 100


def test_written_and_read_back(tmp_path):
    """A split is read as it was written, and no temporary file is left."""
    result = split(*make_documents(60), SplitSettings())
    result.write(tmp_path / "new" / "split.parquet")
    assert Split.read(tmp_path / "new" / "split.parquet").table == result.table
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["split.parquet"]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"document": ["a", "a"], "group": [0, 1], "split": ["train", "train"]}, "twice"),
        ({"document": ["a", "b"], "group": [0, 0], "split": ["train", "test"]}, "on two sides"),
        ({"document": ["a", "b"], "group": [0, 1], "split": ["train", "valid"]}, "unknown split 'valid'"),
        ({"document": ["a", None], "group": [0, 1], "split": ["train", "test"]}, "empty cells"),
        ({"document": ["a"], "split": ["train"]}, "columns document, group and split"),
    ],
)
def test_a_broken_split_is_refused(tmp_path, columns, reason):
    """A split with a group on two sides, or without a column, is refused."""
    pq.write_table(pa.table(columns), tmp_path / "split.parquet")
    with pytest.raises(UserError, match=f"split.parquet: .*{reason}.*trainer split"):
        Split.read(tmp_path / "split.parquet")


def test_a_missing_split_is_named(tmp_path):
    """The message says which file and how to make it."""
    with pytest.raises(UserError, match=r"none\.parquet: no such file; make it with"):
        Split.read(tmp_path / "none.parquet")


def test_source_in_batches_gives_what_lists_give(tmp_path):
    """Reading the corpus in batches gives the same split."""
    ids, texts = make_documents(2500)
    texts[-1] = texts[0]
    pq.write_table(pa.table({"id": ids, "text": texts}), tmp_path / "corpus.parquet")
    assert (
        split_source(str(tmp_path / "corpus.parquet"), SplitSettings()).table
        == split(ids, texts, SplitSettings()).table
    )


def test_command(tmp_path, monkeypatch, corpus):
    """`trainer split` writes below the data directory and prints where."""
    from trainer.cli import app

    monkeypatch.setenv("DOWSE_DATA", str(tmp_path / "data"))
    done = CliRunner().invoke(app, ["split", "--source", str(corpus)], catch_exceptions=False)
    assert done.exit_code == 0
    path = tmp_path / "data" / "training" / "split.parquet"
    assert done.stdout == f"{path}\n"
    assert sorted(Split.read(path).table["document"].to_pylist()) == list("abcdef")
    assert "split: 4 train, 1 dev, 1 test, 6 groups" in done.stderr
