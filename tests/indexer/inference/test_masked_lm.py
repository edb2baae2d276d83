"""Masked-language model without torch: pieces with their offsets, predictions, vectors and attention."""

import math
import shutil

import numpy as np
import pytest

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.masked_lm import GRAPH, MaskedModel


@pytest.fixture(scope="module")
def folder(masked_data):
    """Return the directory of the published model."""
    return Store("masked", masked_data).resolve()


@pytest.fixture(scope="module")
def model(folder):
    """Open the published model."""
    return MaskedModel.open(folder, threads=1)


def predict_best(model, text, **options):
    """Return the most probable piece for each mask of a text."""
    return [prediction.best[0].text for prediction in model.predict(model.read(text, **options), 1)]


def test_pieces_know_their_characters(model):
    """Each piece covers its characters of the text as it was typed, and a split word's pieces share its number."""
    text = "The Capital of PORTUGAL is Lisbon."
    pieces = model.read(text).pieces
    assert [piece.text for piece in pieces] == [
        "[CLS]", "the", "capital", "of", "portu", "##gal", "is", "lis", "##bon", ".", "[SEP]"
    ]  # fmt: skip
    assert [text[piece.start : piece.end] for piece in pieces[1:-1]] == [
        "The", "Capital", "of", "PORTU", "GAL", "is", "Lis", "bon", "."
    ]  # fmt: skip
    assert [piece.word for piece in pieces] == [None, 0, 1, 2, 3, 3, 4, 5, 5, 6, None]


def test_masks_are_filled(model):
    """A mask gets the word that the model has learned for it, and several masks are filled at once."""
    assert predict_best(model, "The capital of France is [MASK].") == ["paris"]
    assert predict_best(model, "He slept on the [MASK] of the river.") == ["bank"]
    reading = model.read("He slept on the [MASK] of [MASK] river.")
    predictions = model.predict(reading, 3)
    assert [prediction.best[0].text for prediction in predictions] == ["bank", "the"]
    assert model.fill(reading, predictions) == "he slept on the bank of the river."


def test_a_word_can_be_masked_by_its_number(model):
    """A word that is masked by its number is predicted as if the text had [MASK], and has its own probability."""
    original, masked = "The capital of France is Paris.", "The capital of France is [MASK]."
    (by_number,) = model.predict(model.read(original, hide={5}), 4)
    (by_token,) = model.predict(model.read(masked), 4)
    assert by_number.best == by_token.best
    assert by_number.hidden == by_number.best[0]
    assert by_token.hidden is None
    pieces = model.predict(model.read("The capital of Portugal is Lisbon.", hide={5}), 1)
    assert [(prediction.position, prediction.hidden.text) for prediction in pieces] == [(7, "lis"), (8, "##bon")]


def test_the_distribution_is_a_softmax(model):
    """Probabilities follow from the logits, add up to one and are ordered; the entropy is that of the distribution."""
    reading = model.read("The capital of [MASK] is Athens.")
    (prediction,) = model.predict(reading, model.vocabulary_size)
    probabilities = np.array([candidate.probability for candidate in prediction.best])
    powers = np.exp([candidate.logit for candidate in prediction.best])
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities == pytest.approx(powers / powers.sum(), abs=1e-6)
    assert [candidate.rank for candidate in prediction.best] == sorted(range(1, model.vocabulary_size + 1))
    assert prediction.entropy == pytest.approx(-(probabilities * np.log(probabilities)).sum(), abs=1e-6)
    assert 0 < prediction.entropy < math.log(model.vocabulary_size)


def test_shapes_of_a_reading(model):
    """A reading has a vector for each piece, and for each layer and head an attention map whose rows add up to 1."""
    reading = model.read("He sat on the bank of the river.")
    length = len(reading.pieces)
    assert model.layers_and_heads == (2, 2)
    assert reading.vectors.shape == (length, 48)
    assert reading.attentions.shape == (2, 2, length, length)
    assert reading.attentions.sum(axis=-1) == pytest.approx(np.ones((2, 2, length)), abs=1e-5)


def test_a_words_vector_depends_on_its_context(model):
    """The bank of a river has another vector than the bank with money; a second bank with money has nearly the same."""

    def encode_bank(text):
        reading = model.read(text)
        (word,) = {piece.word for piece in reading.pieces if piece.text == "bank"}
        vector = reading.word_vector(word)
        return vector / np.linalg.norm(vector)

    river, money = encode_bank("He sat on the bank of the river."), encode_bank("She put the money in the bank.")
    assert encode_bank("She took the money from the bank.") @ money > river @ money + 0.1


def test_the_vector_of_a_split_word_is_the_mean_of_its_pieces(model):
    """A word of two pieces has one vector."""
    reading = model.read("Lisbon is the capital of Portugal.")
    assert reading.word_vector(0) == pytest.approx(reading.vectors[1:3].mean(axis=0))


def test_a_text_that_is_too_long_is_refused_and_not_cut(model):
    """No text is truncated silently: the message names its length and the limit, also one of the caller."""
    model.read("the " * 46)
    with pytest.raises(UserError, match="49 word pieces and at most 48"):
        model.read("the " * 47)
    with pytest.raises(UserError, match="5 word pieces and at most 4"):
        model.read("the old man", max_pieces=4)


def test_other_directories_are_refused(folder, tmp_path):
    """A directory without the graph, or whose tokenizer has no mask, is refused with the command that makes one."""
    with pytest.raises(UserError, match=r"reader\.onnx: missing; .*publish-mlm"):
        MaskedModel.open(tmp_path)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "tokenizer_config.json").write_text('{"mask_token": "<none>"}')
    with pytest.raises(UserError, match="no mask_token that"):
        MaskedModel.open(copy)
    (copy / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json: not readable"):
        MaskedModel.open(copy)
    assert (copy / GRAPH).is_file()
