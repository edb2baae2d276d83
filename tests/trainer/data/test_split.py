"""Who is trained on and who is asked about."""

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


def made(documents, seed=0):
    """Return ids and texts of random words; no two texts are alike."""
    rng = random.Random(seed)
    return [f"doc{number}" for number in range(documents)], [
        " ".join(rng.choices(WORDS, k=60)) for _ in range(documents)
    ]


def sides(found):
    """Return document → side."""
    return dict(zip(found.table["document"].to_pylist(), found.table["split"].to_pylist(), strict=True))


def changed(text, words, seed=0):
    """Return the text with some of its words replaced."""
    rng = random.Random(seed)
    parts = text.split()
    for place in rng.sample(range(len(parts)), words):
        parts[place] = f"other{place}"
    return " ".join(parts)


def test_sides_have_their_shares():
    """A tenth each for dev and test, every document on exactly one side, in the order of the corpus."""
    ids, texts = made(2000)
    found = split(ids, texts, SplitSettings())
    counts = found.counts()
    assert counts["train"] + counts["dev"] + counts["test"] == 2000
    assert counts["groups"] == 2000
    assert 150 <= counts["dev"] <= 250 and 150 <= counts["test"] <= 250
    assert found.table["document"].to_pylist() == ids
    assert found.table.schema == SCHEMA


def test_sides_have_a_limit():
    """A large corpus does not spend more documents on evaluation than that needs, and spends all that are allowed."""
    ids, texts = made(2000)
    counts = split(ids, texts, SplitSettings(most_dev=40, most_test=50)).counts()
    assert (counts["dev"], counts["test"]) == (40, 50)


def test_the_seed_decides():
    """The same seed gives the same split, another seed another."""
    ids, texts = made(300)
    first, again, other = (sides(split(ids, texts, SplitSettings(seed=seed))) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_documents_stay_on_their_side_when_the_corpus_grows():
    """What was trained on yesterday is not asked about today: nobody leaves train, and order does not matter."""
    ids, texts = made(1500)
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
    """An edited copy of a training text among the questions of the report would be a remembered answer."""
    ids, texts = made(400)
    copies = [changed(text, 2, place) for place, text in enumerate(texts[:200])]
    found = split([*ids, *(f"copy{place}" for place in range(200))], [*texts, *copies], SplitSettings())
    side = sides(found)
    assert all(side[f"doc{place}"] == side[f"copy{place}"] for place in range(200))
    assert found.counts()["groups"] == 400
    group = dict(zip(found.table["document"].to_pylist(), found.table["group"].to_pylist(), strict=True))
    assert group["doc7"] == group["copy7"] != group["doc8"]


def test_texts_that_share_some_words_are_no_duplicates():
    """Below the threshold texts are apart, above it together; the threshold is the operator's."""
    text = made(1)[1][0]
    texts = [text, changed(text, 8)]  # of 58 runs of three words some 36 remain: Jaccard about .45
    own = [{tuple(words[at : at + 3]) for at in range(len(words) - 2)} for words in (each.split() for each in texts)]
    jaccard = len(own[0] & own[1]) / len(own[0] | own[1])
    assert 0.3 < jaccard < 0.6
    assert near_duplicates(signatures(texts), 0.7).tolist() == [0, 1]
    assert near_duplicates(signatures(texts), 0.2).tolist() == [0, 0]


def test_links_are_followed():
    """A is like B and B like C: all three stay together, whatever A and C have in common."""
    text = made(1)[1][0]
    chain = [text]
    for step in range(4):
        words = chain[-1].split()
        words[10 * step : 10 * step + 6] = [f"new{step}{place}" for place in range(6)]
        chain.append(" ".join(words))
    assert near_duplicates(signatures([chain[0], chain[-1]]), 0.6).tolist() == [0, 1]
    assert near_duplicates(signatures(chain), 0.6).tolist() == [0] * 5


def test_many_copies_do_not_hide_others():
    """Ten thousand equal rows are one group, at once, and a near-duplicate of theirs is still found."""
    text = made(1)[1][0]
    groups = near_duplicates(
        np.repeat(signatures([text, changed(text, 1), "another text of five words"]), [5000, 1, 1], axis=0), 0.7
    )
    assert Counter(groups.tolist()) == {0: 5001, 5001: 1}


def test_copies_do_not_stand_between_near_duplicates():
    """Two texts that meet in a single band are compared, however many copies of a third one are in that band too."""
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
    """Chinese texts are neither all equal nor all different."""
    text = "北京大学是中国最古老的大学之一学生们在北京学习历史和文学图书馆有很多书籍"
    other = "上海是中国最大的城市之一位于长江入海口人口超过两千万是重要的经济中心"
    assert near_duplicates(signatures([text, other, text + "。", "", "!"]), 0.7).tolist() == [0, 1, 0, 3, 4]


@pytest.mark.parametrize(("documents", "expected"), [(0, 0), (1, 0), (4, 0), (5, 1), (6, 1), (50, 10), (200, 30)])
def test_small_corpora(documents, expected):
    """A tiny corpus keeps most of its documents for training, and a small one has something to be judged by."""
    counts = split(*made(documents), SplitSettings()).counts()
    assert counts["test"] >= expected and counts["dev"] >= expected
    assert counts["train"] >= 0.6 * documents


def test_a_large_group_is_trained_on():
    """Half of the corpus being one text does not make that text the whole evaluation."""
    ids, texts = made(100)
    for seed in range(5):
        found = split(ids, [texts[0]] * 50 + texts[50:], SplitSettings(seed=seed))
        assert {sides(found)[name] for name in ids[:50]} == {"train"}
        assert found.counts()["test"] == found.counts()["dev"] == 20


def test_no_evaluation_on_request():
    """A share of zero leaves nobody out of training."""
    assert split(*made(100), SplitSettings(dev=0, test=0)).counts()["train"] == 100


def test_written_and_read_back(tmp_path):
    """What is read is what was written, and no half file is left."""
    found = split(*made(60), SplitSettings())
    found.write(tmp_path / "new" / "split.parquet")
    assert Split.read(tmp_path / "new" / "split.parquet").table == found.table
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
    """A split that was made by hand and leaks, or lost a column, is found before anything is trained."""
    pq.write_table(pa.table(columns), tmp_path / "split.parquet")
    with pytest.raises(UserError, match=f"split.parquet: .*{reason}.*trainer split"):
        Split.read(tmp_path / "split.parquet")


def test_a_missing_split_is_named(tmp_path):
    """The message says which file and how to make it."""
    with pytest.raises(UserError, match=r"none\.parquet: no such file; make it with"):
        Split.read(tmp_path / "none.parquet")


def test_source_in_batches_gives_what_lists_give(tmp_path):
    """The command reads the corpus as it comes; that changes nothing."""
    ids, texts = made(2500)
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
