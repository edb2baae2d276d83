"""`--extract` by a token classifier: one that is trained here, exported by the trainer and read without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from token_model import LABELS, write_token_model
from typer.testing import CliRunner

from indexer.build.metadata.fill import fill_attributes
from indexer.build.metadata.settings import ExtractSettings
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.inference.token_classifier import Span, TokenClassifier, split_label
from indexer.inference.token_contract import read_contract
from trainer.classify.tokens import export_tokens
from trainer.cli import app

BRANDS = ["Nordvik", "Sonaro", "Apex", "Lumen", "New Tavira", "Kestrel", "Orono", "Halden"]
PLAIN = "This red lamp comes in two parts."


def sentence(number: int, brand: str) -> str:
    """Return a sentence about something of a brand."""
    return (
        f"This {['red', 'blue', 'small'][number % 3]} lamp made by {brand} comes in {['one', 'two'][number % 2]} parts."
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Train a token classifier of brands, and export it by the command."""
    folder = tmp_path_factory.mktemp("token-model")
    words = " ".join(sentence(number, "") for number in range(6)).replace(".", " . ").split()
    sentences = [(sentence(number, BRANDS[number % 8]), BRANDS[number % 8]) for number in range(48)]
    sentences += [(PLAIN, ""), (f"{PLAIN} " * 3, "")]
    write_token_model(folder / "trained", [*words, "New"], sentences)
    done = CliRunner().invoke(app, ["classify", "tokens", str(folder / "trained"), "--out", str(folder / "exported")])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(folder / "exported")
    return folder / "exported"


def test_spans_are_words_of_the_text(model):
    """A brand of two words is one span, also one that nobody has seen; without a brand there is none."""
    classifier = TokenClassifier.open(model)
    texts = [sentence(1, "New Tavira"), PLAIN, sentence(2, "Zzyzx")]
    found = classifier.spans(texts)
    assert classifier.labels == ["BRAND"]
    assert [[text[span.start : span.end] for span in spans] for text, spans in zip(texts, found, strict=True)] == [
        ["New Tavira"],
        [],
        ["Zzyzx"],
    ]
    assert all(0.5 < span.probability <= 1 for spans in found for span in spans)


def test_long_texts_are_read_in_pieces(model):
    """What stands behind the longest input is found too, at its place, and what two pieces see is found once."""
    classifier = TokenClassifier.open(model)
    text = f"{PLAIN} " * 10 + sentence(0, "Kestrel")
    (spans,) = classifier.spans([text])
    assert [text[span.start : span.end] for span in spans] == ["Kestrel"]
    first, second = (sentence(number, "Apex") + f" {PLAIN}" * 3 for number in range(2))
    (spans,) = classifier.spans([first + second])
    assert [(span.label, span.start) for span in spans] == [
        ("BRAND", first.index("Apex")),
        ("BRAND", len(first) + second.index("Apex")),
    ]


def test_the_graph_says_what_torch_says(model):
    """Probabilities sum to 1, and padding does not change them."""
    classifier = TokenClassifier.open(model)
    alone, together = classifier.probabilities(["a lamp"]), classifier.probabilities(["a lamp", sentence(0, "Apex")])
    assert alone[0].shape == (4, len(LABELS))
    np.testing.assert_allclose(alone[0].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(alone[0], together[0], atol=1e-5)


def test_empty_cells_get_the_spans(model, tmp_path, capsys):
    """Brands are filled as the spans say, measured on the rows that have one; a label may have another name."""
    rows = 320
    brands = [BRANDS[number * 5 % 8] for number in range(rows)]
    table = pa.table(
        {
            "id": list(map(str, range(rows))),
            "text": [sentence(number, brand) for number, brand in enumerate(brands)],
            "maker": [None if number % 3 == 0 else brand for number, brand in enumerate(brands)],
        }
    )
    pq.write_table(table, tmp_path / "lamps.parquet")
    corpus = Corpus.check(str(tmp_path / "lamps.parquet"))
    with pytest.raises(
        UserError, match=r"no label 'maker'.*its labels are BRAND: say which with --token-labels maker="
    ):
        fill_attributes(corpus, ExtractSettings(extract="maker", token_model=model), tmp_path)
    settings = ExtractSettings(extract="maker", token_model=model, token_labels="maker=brand")
    filled = fill_attributes(corpus, settings, tmp_path)
    cells = [row["maker"] for batch in filled.batches() for row in batch.column("metadata").to_pylist()]
    assert cells == brands
    assert (
        "maker: empty cells are filled by the model (precision 1.000, recall 1.000 of 213 rows"
        in capsys.readouterr().err
    )


def test_what_is_no_token_classifier_is_refused(tiny_model, tmp_path):
    """An encoder cannot be exported, and a folder without an export cannot be read; both messages say what to do."""
    with pytest.raises(UserError, match="no token classifier, but BertModel"):
        export_tokens(str(tiny_model), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"token_classifier.json: missing; write the directory with `python -m trainer"):
        TokenClassifier.open(tiny_model)


@pytest.mark.parametrize(
    ("labels", "found"), [(("O", "BRAND", "BRAND"), ["New Tavira"]), (("O", "B-BRAND", "B-BRAND"), ["New", "Tavira"])]
)
def test_runs_of_one_label_are_one_span_unless_each_begins(model, labels, found):
    """The same answers under other names: without marks both words are one brand, with a begin on each they are two."""
    contract = read_contract(model).model_copy(update={"labels": list(labels)})
    text = sentence(1, "New Tavira")
    (spans,) = TokenClassifier(model, contract).spans([text])
    assert [text[span.start : span.end] for span in spans] == found


def test_labels_without_marks_join_and_a_begin_parts():
    """B- begins another span though the one before touches it; labels without marks are runs of words."""
    assert split_label("B-LOC") == (True, "LOC")
    assert split_label("I-LOC") == (False, "LOC")
    assert split_label("first-name") == (False, "first-name")
    assert split_label("O") == (False, "O")
    assert Span("LOC", 0, 1, 0.5)._replace(end=3).end == 3
