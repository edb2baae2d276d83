"""The masked-language model without torch: pieces with their places, guesses, vectors and attentions."""

import math
import shutil

import numpy as np
import pytest

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.masked_lm import GRAPH, MaskedModel


@pytest.fixture(scope="module")
def folder(masked_data):
    """The directory of the published model."""
    return Store("masked", masked_data).resolve()


@pytest.fixture(scope="module")
def model(folder):
    """The published model, opened."""
    return MaskedModel.open(folder, threads=1)


def best(model, text, **options):
    """The most probable piece for each mask of a text."""
    return [guess.best[0].text for guess in model.predict(model.read(text, **options), 1)]


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


def test_it_fills_masks_with_what_it_has_learned(model):
    """A mask gets the word that belongs there, and several masks are filled at once."""
    assert best(model, "The capital of France is [MASK].") == ["paris"]
    assert best(model, "He slept on the [MASK] of the river.") == ["bank"]
    reading = model.read("He slept on the [MASK] of [MASK] river.")
    guesses = model.predict(reading, 3)
    assert [guess.best[0].text for guess in guesses] == ["bank", "the"]
    assert model.fill(reading, guesses) == "he slept on the bank of the river."


def test_a_hidden_word_is_not_seen(model):
    """A word that is hidden by its number is guessed as if the text said [MASK], and its own probability is told."""
    seen, hidden = "The capital of France is Paris.", "The capital of France is [MASK]."
    (guess,) = model.predict(model.read(seen, hide={5}), 4)
    (written,) = model.predict(model.read(hidden), 4)
    assert guess.best == written.best
    assert guess.hidden == guess.best[0]
    assert written.hidden is None
    pieces = model.predict(model.read("The capital of Portugal is Lisbon.", hide={5}), 1)
    assert [(guess.position, guess.hidden.text) for guess in pieces] == [(7, "lis"), (8, "##bon")]


def test_the_distribution_is_a_softmax(model):
    """Probabilities follow from the logits, add up to one, are ordered, and the entropy is theirs."""
    reading = model.read("The capital of [MASK] is Athens.")
    (guess,) = model.predict(reading, model.vocabulary)
    probabilities = np.array([each.probability for each in guess.best])
    powers = np.exp([each.logit for each in guess.best])
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities == pytest.approx(powers / powers.sum(), abs=1e-6)
    assert [each.rank for each in guess.best] == sorted(range(1, model.vocabulary + 1))
    assert guess.entropy == pytest.approx(-(probabilities * np.log(probabilities)).sum(), abs=1e-6)
    assert 0 < guess.entropy < math.log(model.vocabulary)


def test_what_comes_with_the_guesses_has_its_shape(model):
    """A reading holds a vector for each piece, and for each layer and head a map of attention whose rows add up to 1."""
    reading = model.read("He sat on the bank of the river.")
    length = len(reading.pieces)
    assert model.heads == (2, 2)
    assert reading.vectors.shape == (length, 48)
    assert reading.attentions.shape == (2, 2, length, length)
    assert reading.attentions.sum(axis=-1) == pytest.approx(np.ones((2, 2, length)), abs=1e-5)


def test_a_words_vector_depends_on_its_surroundings(model):
    """The bank of a river has another vector than the bank with money; a second bank with money has nearly the same."""

    def bank(text):
        reading = model.read(text)
        (word,) = {piece.word for piece in reading.pieces if piece.text == "bank"}
        vector = reading.word_vector(word)
        return vector / np.linalg.norm(vector)

    river, money = bank("He sat on the bank of the river."), bank("She put the money in the bank.")
    assert bank("She took the money from the bank.") @ money > river @ money + 0.1


def test_the_vector_of_a_split_word_is_the_mean_of_its_pieces(model):
    """A word of two pieces has one vector."""
    reading = model.read("Lisbon is the capital of Portugal.")
    assert reading.word_vector(0) == pytest.approx(reading.vectors[1:3].mean(axis=0))


def test_a_text_that_is_too_long_is_refused_and_not_cut(model):
    """Nothing is cut off silently: the message names both lengths, the caller's limit included."""
    model.read("the " * 46)
    with pytest.raises(UserError, match="49 word pieces and at most 48"):
        model.read("the " * 47)
    with pytest.raises(UserError, match="5 word pieces and at most 4"):
        model.read("the old man", most=4)


def test_what_is_no_masked_model_is_named(folder, tmp_path):
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
