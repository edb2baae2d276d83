"""The learned WordPiece tokenizer: its vocabulary, its normalisation, and that every library reads its files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from stories import STORIES
from transformers import AutoTokenizer

from trainer.pretrain.tokens import SPECIAL, choose_alphabet, learn_wordpiece, to_fast_tokenizer

REPOSITORY = Path(__file__).parents[3]
TEXTS = [[text for *_, text in STORIES] * 3, ["Café, naïve Übung.", "Café, naïve Übung."]]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz.,"]
AS_BERT = {"lowercase": True, "strip_accents": True}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer learned from the stories, in the files of the Hub."""
    folder = tmp_path_factory.mktemp("tokenizer")
    learned = learn_wordpiece(TEXTS, choose_alphabet(TEXTS, **AS_BERT), vocab_size=192, **AS_BERT)
    to_fast_tokenizer(learned, 32).save_pretrained(folder)
    return folder


def test_the_hubs_class_reads_it(saved: Path) -> None:
    """Encoding and decoding restore a text, with [CLS] and [SEP], two kinds of segments and the longest input."""
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert [tokenizer.convert_ids_to_tokens(number) for number in range(5)] == list(SPECIAL)
    pair = tokenizer("The cat sits.", "The dog runs.")
    pieces = tokenizer.convert_ids_to_tokens(pair["input_ids"])
    assert pieces[0] == "[CLS]"
    assert pieces.count("[SEP]") == 2
    assert "[UNK]" not in pieces
    assert pair["token_type_ids"] == [0] * (pieces.index("[SEP]") + 1) + [1] * (len(pieces) - pieces.index("[SEP]") - 1)
    assert tokenizer.decode(pair["input_ids"], skip_special_tokens=True) == "the cat sits. the dog runs."
    assert tokenizer.model_max_length == 32


def test_frequent_words_are_one_piece_and_unknown_ones_several(saved: Path) -> None:
    """The vocabulary is learned, and what it lacks is spelt."""
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert tokenizer.tokenize("the") == ["the"]
    spelt = tokenizer.tokenize("theriver")
    assert len(spelt) > 1
    assert all(piece.startswith("##") for piece in spelt[1:])


def test_the_size_is_a_multiple_of_64() -> None:
    """What a small corpus leaves free is filled; a size that it reaches is kept."""
    for wanted, size in ((128, 128), (8192, None)):
        learned = learn_wordpiece(TEXTS, LETTERS, vocab_size=wanted, **AS_BERT)
        found = learned.get_vocab_size()
        assert found % 64 == 0
        assert size in {None, found}
        assert sorted(learned.get_vocab().values()) == list(range(found))
    assert "[unused0]" in learned.get_vocab()


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "seen"), [(True, True, "cafe"), (False, False, "Café"), (True, False, "café")]
)
def test_case_and_accents(lowercase: bool, strip_accents: bool, seen: str) -> None:
    """Capital letters and accents stay or go as the flags say."""
    case = {"lowercase": lowercase, "strip_accents": strip_accents}
    learned = learn_wordpiece(TEXTS, sorted({*"".join(TEXTS[0] + TEXTS[1])} - {" "}), vocab_size=256, **case)
    assert "".join(learned.encode("Café", add_special_tokens=False).tokens).replace("##", "") == seen


def test_a_character_that_is_hardly_ever_there_takes_no_place() -> None:
    """The alphabet covers nearly all of the text, and not every sign that is once in it."""
    texts = [["abc " * 20_000, "ж"]]
    assert choose_alphabet(texts, **AS_BERT) == ["a", "b", "c"]
    learned = learn_wordpiece(texts, ["a", "b", "c"], vocab_size=64, **AS_BERT)
    assert "ж" not in learned.get_vocab()
    assert learned.encode("ж abc", add_special_tokens=False).tokens == ["[UNK]", "abc"]
    assert choose_alphabet([["ж abc"]], **AS_BERT) == ["a", "b", "c", "ж"]


def test_the_same_texts_give_the_same_tokenizer() -> None:
    """Pieces and numbers are the same in every process; the library's own order is that of a hash table."""
    program = (
        "import json, sys; from trainer.pretrain.tokens import learn_wordpiece; texts, letters, rest = json.loads(sys.argv[1]);"
        "print(learn_wordpiece(texts, letters, vocab_size=256, **rest).to_str())"
    )
    command = [sys.executable, "-c", program, json.dumps([TEXTS, LETTERS, AS_BERT])]
    found = {subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout for _ in range(3)}
    assert len(found) == 1


def test_only_what_can_continue_a_word_is_a_piece_that_does() -> None:
    """Punctuation and ideographs stand alone, and take one place and not two."""
    learned = learn_wordpiece([["the cat, 这是."] * 3], [",", ".", "a", "是"], vocab_size=64, **AS_BERT).get_vocab()
    assert {",", "是", "a", "##a"} <= learned.keys()
    assert not {"##,", "##是"} & learned.keys()
