"""Hard negatives and the teacher's scores, on real indexes of a few stories."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stories import STORIES
from typer.testing import CliRunner

from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from trainer.data.pairs import SCHEMA
from trainer.mining.negatives import Summary, mine
from trainer.mining.roundtrip import open_retriever
from trainer.mining.settings import NegativesSettings

SAILOR = "The sailor is on the ship at sea. The storm is big and the night is old."
COPY = SAILOR.replace("old", "young")
PAIRS = [
    ("sailor ship storm", "c", "keywords"),
    ("cheese and wine in the castle", "d", "sentence"),
    ("The dog", "b", "title"),
]
WIDE = {"negatives": 2, "from_rank": 1, "copy_cosine": 2.0}
"""Settings for six stories; the tiny model's random vectors cannot tell copies, so none is excluded."""


def pairs_from(rows):
    """Return a table of pairs from (query, document, kind)."""
    columns = [[f"{document}/{position}" for position, (_, document, _) in enumerate(rows)]]
    columns += [
        list(values)
        for values in zip(*((query, document, document, kind) for query, document, kind in rows), strict=True)
    ]
    return pa.table(columns, schema=SCHEMA)


@pytest.fixture(scope="module")
def retriever(built_data):
    """A retriever over the index of the six stories."""
    return open_retriever(None, built_data)


@pytest.fixture(scope="module")
def copied(tmp_path_factory, tiny_data):
    """A retriever over an index with two versions of the sailor's story, which differ in one word."""
    data = tmp_path_factory.mktemp("copied") / "data"
    shutil.copytree(tiny_data, data)
    rows = [{"id": name, "text": text} for name, _, text in STORIES] + [{"id": "copy", "text": COPY}]
    pq.write_table(pa.Table.from_pylist(rows), data / "corpus.parquet")
    build(str(data / "corpus.parquet"), BuildSettings(), data)
    return open_retriever(None, data)


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory, tiny_model):
    """A directory with a tiny BERT of random weights that scores pairs of texts."""
    return make_cross_encoder(tmp_path_factory.mktemp("cross-encoder"), tiny_model, outputs=1)


def make_cross_encoder(folder, tiny_model, outputs):
    """Write a cross-encoder with so many outputs."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig

    config = BertConfig.from_pretrained(tiny_model.parent / "bert")
    config.num_labels = outputs
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(20)
        model.classifier.weight.mul_(100)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model.parent / "bert").save_pretrained(folder)
    return folder


def mined(tmp_path, retriever, rows, allowed=None, **settings):
    """Mine negatives and return the examples with the summary."""
    summary = mine(
        pairs_from(rows), retriever, NegativesSettings(**WIDE | settings), tmp_path / "examples.parquet", allowed
    )
    return pq.read_table(tmp_path / "examples.parquet").to_pylist(), summary


def test_the_best_other_documents_with_the_fused_scores(tmp_path, retriever):
    """Negatives are the documents that rank next below the positive, with the fused scores."""
    rows, summary = mined(tmp_path, retriever, PAIRS[:2], margin=0.0)
    assert summary.kept == len(rows) == 2
    for row in rows:
        ranking = retriever.search(row["query"])
        score = {
            retriever.index.document(at).id: float(value)
            for at, value in zip(ranking.rows, ranking.scores, strict=True)
        }
        own = row["positive_id"]
        below = sorted((name for name in score if score[name] < score[own]), key=lambda name: -score[name])
        assert row["negative_ids"] == below[:2]
        assert row["scores"] == pytest.approx([score[own], *(score[name] for name in below[:2])], abs=1e-6)
        assert row["scores"] == sorted(row["scores"], reverse=True)


def test_texts_are_what_the_encoder_is_given(tmp_path, retriever):
    """Texts are title and passage, as in the index; without the title where the query is a title."""
    rows, _ = mined(tmp_path, retriever, PAIRS)
    story = {name: (title, text) for name, title, text in STORIES}
    for row in rows:
        for name, text in zip(
            [row["positive_id"], *row["negative_ids"]],
            [row["positive"], row["negative_1"], row["negative_2"]],
            strict=True,
        ):
            title = None if row["query"] == "The dog" else story[name][0]
            assert text == f"{title or ''} {story[name][1]}".strip()
    assert [row["query_id"] for row in rows] == ["c/0", "d/1", "b/2"]


def test_finetune_reads_the_examples(tmp_path, retriever):
    """The columns are those that listwise distillation learns from."""
    from trainer.finetune.examples import read_examples

    mined(tmp_path, retriever, PAIRS)
    examples = read_examples([tmp_path / "examples.parquet"], "listwise")
    assert examples.column_names == ["query", "positive", "negative_1", "negative_2", "scores"]
    assert len(examples[0]["scores"]) == 3


def test_window(tmp_path, retriever):
    """Negatives are taken only from the given ranks: the first may be answers, the last are too easy."""
    order = [retriever.index.document(at).id for at in retriever.search("sailor ship storm").rows]
    assert order[0] == "c"
    for first, last in ((1, 6), (3, 5), (5, 6)):
        rows, _ = mined(tmp_path, retriever, PAIRS[:1], from_rank=first, to_rank=last, negatives=2, margin=0.0)
        assert rows[0]["negative_ids"] == [name for name in order[first - 1 : last] if name != "c"][:2]
    with pytest.raises(UserError, match="no query has 3 negatives between ranks 3 and 4"):
        mined(tmp_path, retriever, PAIRS[:1], from_rank=3, to_rank=4, negatives=3, margin=0.0)


def better_and_worse(copied):
    """Return the sailor's story and its copy, the one that the ranking prefers first, and all scores by id."""
    ranking = copied.search("sailor ship storm")
    assert ranking.scores.mean() == pytest.approx(0, abs=1e-9)
    score = {copied.index.document(at).id: float(value) for at, value in zip(ranking.rows, ranking.scores, strict=True)}
    better, worse = sorted(("c", "copy"), key=lambda name: -score[name])
    return better, worse, score


def test_margin_leaves_out_what_scores_like_the_positive(tmp_path, copied):
    """An unlabelled answer must not become a negative: candidates within the margin are left out."""
    better, worse, score = better_and_worse(copied)
    near = 1 - score[worse] / score[better]
    assert 0.02 < near < 0.5
    for margin, expected in ((0.0, True), (near - 0.01, True), (near + 0.01, False)):
        rows, _ = mined(tmp_path, copied, [("sailor ship storm", better, "keywords")], margin=margin)
        assert (worse in rows[0]["negative_ids"]) is expected


def test_copies_of_the_positive_are_no_negatives(tmp_path, copied):
    """A near-copy of the positive is an answer too, whatever its score."""
    better, worse, _ = better_and_worse(copied)
    own, other = copied.index.dense.vectors(np.array([copied.index.row_of(name) for name in (better, worse)]))
    cosine = float(own @ other)
    for limit, expected in ((cosine - 0.001, False), (cosine + 0.001, True)):
        pairs = [("sailor ship storm", better, "keywords")]
        rows, _ = mined(tmp_path, copied, pairs, margin=0.0, copy_cosine=limit)
        assert (worse in rows[0]["negative_ids"]) is expected


def test_other_answers_to_the_same_query_are_no_negatives(tmp_path, copied):
    """Where two documents have the same query, neither is a negative of it."""
    rows, _ = mined(
        tmp_path, copied, [("Sailor ship storm", "c", "title"), ("sailor ship storm", "copy", "title")], margin=0.0
    )
    assert len(rows) >= 1
    assert all(not {"c", "copy"} & set(row["negative_ids"]) for row in rows)


def test_random_sampling_is_seeded(tmp_path, retriever):
    """Random negatives are the same for the same seed, with the hardest first in the row."""
    drawn = [
        [row["negative_ids"] for row in mined(tmp_path, retriever, PAIRS, sampling="random", seed=seed, margin=0.0)[0]]
        for seed in (0, 0, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len({str(each) for each in drawn}) > 1
    rows, _ = mined(tmp_path, retriever, PAIRS, sampling="random", margin=0.0)
    assert all(row["scores"] == sorted(row["scores"], reverse=True) for row in rows)


def test_dropped_queries_are_counted(tmp_path, retriever, monkeypatch):
    """Queries that do not find their document, or have too few negatives, are left out and accounted for."""
    bad = ("king and queen in the castle", "a", "keywords")
    rows, summary = mined(tmp_path, retriever, [*PAIRS, bad], margin=0.0, negatives=4)
    assert summary.queries == 4
    assert summary.kept + summary.scarce + summary.lost == 4
    assert summary.scarce and "king and queen in the castle" not in [row["query"] for row in rows]
    assert not summary.lost
    search = retriever.search

    def forgetful(query):
        ranking = search(query)
        for name in ("rows", "scores", "dense", "lexical"):
            setattr(ranking, name, getattr(ranking, name)[:5])
        return ranking

    last = next(name for name in "abcdef" if retriever.index.row_of(name) == search("castle").rows[-1])
    monkeypatch.setattr(retriever, "search", forgetful)
    _, summary = mined(tmp_path, retriever, [*PAIRS, ("castle", last, "keywords")])
    assert summary.lost == 1


def test_nothing_found_is_an_error(tmp_path, retriever):
    """No empty file of examples is written."""
    with pytest.raises(UserError, match="no query has 6 negatives between ranks 1 and 50; ask for fewer --negatives"):
        mined(tmp_path, retriever, PAIRS, negatives=6)
    assert not list(tmp_path.iterdir())


def test_only_allowed_documents_are_negatives(tmp_path, retriever):
    """Test documents are not trained on, not even as negatives."""
    allowed = np.array([retriever.index.document(row).id in "abcd" for row in range(6)])
    rows, _ = mined(tmp_path, retriever, PAIRS, allowed=allowed, margin=0.0)
    assert rows and all(set(row["negative_ids"]) <= set("abcd") for row in rows)


def test_the_teacher_is_compared_with_the_dense_leg(tmp_path, retriever, capsys):
    """Distillation needs a teacher that is better than the dense leg: both shares are printed, with a warning if it is not."""
    queries = [
        "snow street",
        "king wine",
        "horse garden",
        "rain",
        "castle",
        "bread water",
        "sun",
        "ship",
        "cheese queen",
    ]
    first = {mode: [retriever.search(query, mode).rows[0] for query in queries] for mode in ("hybrid", "dense")}
    ids = [retriever.index.document(row).id for row in first["hybrid"]]
    _, summary = mined(tmp_path, retriever, [(query, name, "search") for query, name in zip(queries, ids, strict=True)])
    assert summary.teacher_first == 9
    assert summary.dense_first == sum(a == b for a, b in zip(first["hybrid"], first["dense"], strict=True))
    assert summary.dense_first < 9
    progress = capsys.readouterr().err
    assert (
        f"{summary.kept} of 9 queries kept" in progress and "own document first: teacher 100.0%, dense leg " in progress
    )
    assert "no better" not in progress
    assert "no better than the dense leg" in Summary(queries=4, teacher_first=2, dense_first=2).lines()[-1]


def test_cross_encoder_scores_are_raw_logits(tmp_path, retriever, cross_encoder):
    """A cross-encoder from a directory scores the texts of the examples, without a sigmoid."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    rows, summary = mined(tmp_path, retriever, PAIRS * 3, teacher=cross_encoder, margin=0.0, negatives=1)
    assert rows and summary.queries == 9
    model = AutoModelForSequenceClassification.from_pretrained(cross_encoder).eval()
    tokenizer = AutoTokenizer.from_pretrained(cross_encoder)
    for row in rows:
        given = tokenizer(
            [row["query"]] * 2, [row["positive"], row["negative_1"]], return_tensors="pt", padding=True, truncation=True
        )
        with torch.no_grad():
            expected = model(**given).logits[:, 0].tolist()
        assert row["scores"] == pytest.approx(expected, abs=1e-3)
        assert row["scores"][1] < row["scores"][0]
    assert max(abs(score) for row in rows for score in row["scores"]) > 1


def test_a_wrong_teacher_is_named(tmp_path, retriever, tiny_model):
    """A directory that is missing, is no model, or has several outputs, is refused before any search."""
    (tmp_path / "empty").mkdir()
    many = make_cross_encoder(tmp_path / "many", tiny_model, outputs=3)
    for folder, reason in (
        (tmp_path / "none", "no directory"),
        (tmp_path / "empty", "not loadable"),
        (many, "3 outputs"),
    ):
        with pytest.raises(UserError, match=f"--teacher {folder}: .*{reason}"):
            mined(tmp_path, retriever, PAIRS, teacher=folder)


def test_command(tmp_path, built_data, monkeypatch):
    """`trainer negatives` writes examples beside the pairs; with a split only documents of train take part."""
    from trainer.cli import app

    monkeypatch.setenv("DOWSE_DATA", str(built_data))
    pq.write_table(pairs_from(PAIRS), tmp_path / "pairs.parquet")
    split = {"document": list("abcdef"), "group": list(range(6)), "split": ["train"] * 4 + ["test"] * 2}
    pq.write_table(pa.table(split), tmp_path / "split.parquet")
    words = ["negatives", str(tmp_path / "pairs.parquet"), "--negatives", "2", "--from-rank", "1", "--copy-cosine", "2"]
    done = CliRunner().invoke(app, [*words, "--split", str(tmp_path / "split.parquet")], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout == f"{tmp_path / 'examples.parquet'}\n"
    rows = pq.read_table(tmp_path / "examples.parquet").to_pylist()
    assert rows and all(set(row["negative_ids"]) <= set("abcd") for row in rows)
