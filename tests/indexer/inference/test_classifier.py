"""Classifier without torch: its probabilities, how it is found by name, and labels in an index."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelled import example, publish_classifier, train_frozen
from stories import write_corpus

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.inference.classifier import Classifier, ClassifierContract, find_classifier

TEXTS = [example("animal"), example("food"), example("weather"), " ".join([example("weather")] * 20)]


@pytest.fixture(scope="module")
def published(tmp_path_factory, tiny_data):
    """Return a data directory with a live classifier of one label per text. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("classified")
    shutil.copytree(tiny_data, folder / "data")
    publish_classifier(folder / "data", folder / "one")
    return folder / "data"


@pytest.fixture(scope="module")
def several(tmp_path_factory, tiny_data):
    """Return the directory of a classifier that gives several labels."""
    return train_frozen(tiny_data, tmp_path_factory.mktemp("several"), several=True)


def open_live(data):
    """Open the live classifier of a data directory."""
    return Classifier.open(find_classifier("current", data))


def test_one_label_per_text_has_probabilities_that_sum_to_one(published):
    """Every text gets a distribution over the labels, whatever other texts are classified with it."""
    classifier = open_live(published)
    together = classifier.predict(TEXTS)
    assert together.shape == (4, 3)
    assert together.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert [classifier.labels[at] for at in together.argmax(axis=1)] == ["animal", "food", "weather", "weather"]
    for row, text in enumerate(TEXTS):
        assert classifier.predict([text])[0] == pytest.approx(together[row], abs=1e-5)


def test_no_text_gives_no_row(published):
    """No texts give no rows, with the right number of columns."""
    assert open_live(published).predict([]).shape == (0, 3)


def test_calibration_and_thresholds_of_the_contract():
    """Temperature, slope and offset, and thresholds of the file are applied, without overflow."""
    logits = np.array([[1.0, 3.0], [2000.0, -2000.0]], np.float32)
    one = ClassifierContract(labels=["a", "b"], multi_label=False, max_tokens=8, pad_token_id=0, temperature=2.0)
    assert one.probabilities(logits)[0] == pytest.approx([1 / (1 + np.e), np.e / (1 + np.e)])
    assert one.probabilities(logits)[1].tolist() == [1, 0]
    many = one.model_copy(
        update={"multi_label": True, "scale": [2.0, 1.0], "bias": [-2.0, 0.0], "thresholds": [0.5, 0.99]}
    )
    assert many.probabilities(logits)[0] == pytest.approx([0.5, 1 / (1 + np.exp(-3))])
    assert many.applies(many.probabilities(logits)).tolist() == [[True, False], [True, False]]
    assert one.applies(one.probabilities(logits)).tolist() == [[False, True], [True, False]]


def test_classifiers_are_found_by_name(published, tmp_path):
    """`current`, an id and a directory name a classifier; anything else is an error that says what can be given."""
    store = Store("classifier", published)
    live = store.resolve()
    assert find_classifier("current", published) == find_classifier(live.name, published) == live
    assert find_classifier(str(live), tmp_path) == live
    with pytest.raises(UserError, match="there is no classifier yet; run `python -m trainer classify publish DIR`"):
        find_classifier("current", tmp_path)
    with pytest.raises(UserError, match=r"neither `current`, nor the id .*nor a directory"):
        find_classifier("spam", published)
    with pytest.raises(UserError, match=r"no classifier '20200101T000000Z-00000000'"):
        find_classifier("20200101T000000Z-00000000", published)


def test_a_directory_that_is_no_classifier_or_was_altered_is_refused(published, tmp_path):
    """An empty directory, an invalid contract, and a published file that was changed are refused by name."""
    with pytest.raises(UserError, match="holds no classifier"):
        Classifier.open(tmp_path)
    live = Store("classifier", published).resolve()
    copy = tmp_path / live.name
    shutil.copytree(live, copy)
    contract = json.loads((copy / "classifier.json").read_text())
    (copy / "classifier.json").write_text(json.dumps({**contract, "labels": ["one"]}))
    with pytest.raises(UserError, match=r"classifier\.json"):
        Classifier.open(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(UserError, match="not readable"):
        Classifier.open(copy)


def build_with_labels(data, corpus, **settings):
    """Build an index with labels; return the build and the opened index."""
    built = build(str(corpus), BuildSettings(language="en", **settings), data)
    return built, Index.open(Store("index", data).path(built.manifest.id))


def test_labels_become_metadata(published, tmp_path):
    """Every document gets the label of its text and its probability, beside its own columns and their types."""
    data, corpus = tmp_path / "data", write_corpus(tmp_path / "corpus.parquet")
    shutil.copytree(published, data)
    plain = build(str(corpus), BuildSettings(language="en"), data)
    built, index = build_with_labels(data, corpus, label_with="current")
    assert built.fresh
    assert built.manifest.fingerprint != plain.manifest.fingerprint
    live = Store("classifier", data).resolve().name
    labels = built.manifest.config["labels"]
    assert (labels["classifier"], labels["column"], len(labels["sha256"])) == (live, "label", 64)
    assert "labels" not in plain.manifest.config
    classifier = open_live(data)
    for row in range(len(index)):
        document = index.document(row)
        (probabilities,) = classifier.predict([document.text])
        assert set(document.metadata) == {"price", "rooms", "tags", "label", "label_probability"}
        assert document.metadata["label"] == classifier.labels[probabilities.argmax()]
        assert document.metadata["label_probability"] == pytest.approx(probabilities.max(), abs=1e-5)
    assert index.document(0).metadata["rooms"] == 1
    assert index.metadata_types["label"] == "string"


def test_labels_are_part_of_the_fingerprint(published, several, tmp_path):
    """The same classifier, by any name, is «up to date»; another one, or another column, makes a new index."""
    data, corpus = tmp_path / "data", write_corpus(tmp_path / "corpus.parquet")
    shutil.copytree(published, data)
    assert build_with_labels(data, corpus, label_with="current")[0].fresh
    live = Store("classifier", data).resolve()
    assert not build_with_labels(data, corpus, label_with=str(live))[0].fresh
    assert build_with_labels(data, corpus, label_with="current", label_column="topic")[0].fresh
    _, index = build_with_labels(data, corpus, label_with=str(several))
    for row in range(len(index)):
        metadata = index.document(row).metadata
        assert len(metadata["label"]) == len(metadata["label_probability"])
        assert metadata["label_probability"] == sorted(metadata["label_probability"], reverse=True)
    assert any(index.document(row).metadata["label"] for row in range(len(index)))


def test_documents_without_other_columns_get_labels_too(published, tmp_path):
    """A corpus of texts alone gets the two new columns and nothing else."""
    data, corpus = tmp_path / "data", tmp_path / "texts.parquet"
    shutil.copytree(published, data)
    pq.write_table(pa.table({"text": TEXTS[:2]}), corpus)
    _, index = build_with_labels(data, corpus, label_with="current")
    assert [index.document(row).metadata["label"] for row in range(2)] == ["animal", "food"]


@pytest.mark.parametrize("column", ["label", "label_probability"])
def test_an_existing_column_is_not_overwritten(published, tmp_path, column):
    """A corpus with a column of the same name is refused before any work, and --label-column is the remedy."""
    data, corpus = tmp_path / "data", tmp_path / "texts.parquet"
    shutil.copytree(published, data)
    pq.write_table(pa.table({"text": ["the cat", "bread"], column: ["a", "b"]}), corpus)
    with pytest.raises(UserError, match=rf"a column '{column}' already; name another with --label-column"):
        build(str(corpus), BuildSettings(label_with="current"), data)
    assert not Store("index", data).ids()
    _, index = build_with_labels(data, corpus, label_with="current", label_column="topic")
    assert set(index.document(0).metadata) == {column, "topic", "topic_probability"}
