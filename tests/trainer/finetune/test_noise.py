"""Deletion noise: the right share of words goes, in every script, and never all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer

from trainer.finetune.tsdae import DeletionCollator, delete_words

SENTENCE = "The quick brown fox, it is said, jumps over the lazy dog."


def seeded(seed: int = 0) -> torch.Generator:
    """Return chance that can be had again."""
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.6, 0.9])
def test_the_share_of_deleted_words_is_the_ratio(ratio: float) -> None:
    """0.6 deletes six words of ten, not four: the samples of the field's own library got it the other way round."""
    text = " ".join(f"w{number}" for number in range(20_000))
    kept = delete_words(text, ratio, seeded()).split()
    assert 1 - len(kept) / 20_000 == pytest.approx(ratio, abs=0.02)


def test_what_is_kept_stands_in_its_order_and_is_not_glued_together() -> None:
    """The encoder sees real words: those of the text, in the order of the text."""
    words = SENTENCE.split()
    for seed in range(50):
        kept = delete_words(SENTENCE, 0.6, seeded(seed)).split()
        places = iter(words)
        assert all(word in places for word in kept)


@pytest.mark.parametrize("text", ["one", "three short words", "数据库", "ภาษาไทย"])
def test_at_least_one_word_is_kept(text: str) -> None:
    """A text with nothing left would teach the decoder to write without looking."""
    for seed in range(200):
        assert delete_words(text, 0.99, seeded(seed)).strip()


def test_which_word_is_kept_is_left_to_chance() -> None:
    """The one word that stays is not always the first or the last."""
    assert {delete_words("a b c", 1.0, seeded(seed)) for seed in range(50)} == {"a", "b", "c"}


@pytest.mark.parametrize(
    "text",
    ["数据库中的向量检索是一种方法", "ベクトル検索は便利な方法です", "การค้นหาเชิงความหมายมีประโยชน์", "ການຄົ້ນຫາເປັນປະໂຫຍດ"],
)
def test_scripts_without_spaces_lose_characters(text: str) -> None:
    """Chinese, Japanese, Thai and Lao are damaged in part, not kept or deleted as one long word."""
    lengths = {len(delete_words(text, 0.6, seeded(seed))) for seed in range(30)}
    assert len(lengths) > 3
    assert sum(lengths) / len(lengths) < 0.75 * len(text)


def test_marks_stay_with_their_character() -> None:
    """A vowel sign or a tone mark never stands alone or on another letter."""
    parts = {"กี่", "ที่", "นี้"}
    for seed in range(40):
        rest = delete_words("กี่ที่นี้", 0.5, seeded(seed))
        assert rest
        assert {rest[at : at + 3] for at in range(0, len(rest), 3)} <= parts


def test_words_of_both_kinds_in_one_text() -> None:
    """A Latin name among Chinese characters is a word of its own."""
    kept = {delete_words("用PostgreSQL存储", 0.5, seeded(seed)) for seed in range(100)}
    assert "PostgreSQL" in kept
    assert all("PostgreSQL" in text or set(text) <= set("用存储") for text in kept)


@pytest.mark.parametrize("text", ["", "   "])
def test_a_text_without_words_comes_back(text: str) -> None:
    """There is nothing to delete, and nothing to fail at."""
    assert delete_words(text, 0.6) == text


def collator(model: Path, max_length: int, ratio: float = 0.6) -> tuple[SentenceTransformer, DeletionCollator]:
    """Return the tiny model and the collator that makes its batches."""
    encoder = SentenceTransformer(str(model), device="cpu")
    made = DeletionCollator(
        preprocess_fn=encoder.preprocess, tokenizer=encoder.tokenizer, ratio=ratio, max_length=max_length
    )
    return encoder, made


def test_the_noise_is_new_in_every_batch_and_the_target_whole(tiny_model: Path) -> None:
    """The same row gives other damage each time, and the text to rebuild always stays the same."""
    encoder, collate = collator(tiny_model, 32)
    rows = [{"text": "the cat sits in the garden and the dog runs by the river"}]
    batches = [collate(rows) for _ in range(8)]
    assert len({tuple(batch["damaged_input_ids"][0].tolist()) for batch in batches}) > 4
    whole = encoder.tokenizer(rows[0]["text"])["input_ids"]
    assert all(batch["text_input_ids"][0].tolist() == whole for batch in batches)
    assert next(iter(batches[0])).startswith("damaged_"), "the loss takes the damaged text first"


def test_a_long_text_is_cut_before_it_is_damaged(tiny_model: Path) -> None:
    """Words beyond the cut are in neither text: the decoder could not rebuild the one or ignore the other."""
    encoder, collate = collator(tiny_model, 6, ratio=0.0)
    batch = collate([{"text": "cat dog bird fish horse king queen castle"}])
    assert batch["text_input_ids"].tolist() == batch["damaged_input_ids"].tolist()
    _, collate = collator(tiny_model, 6)
    beyond = set(encoder.tokenizer("horse king queen castle", add_special_tokens=False)["input_ids"])
    for _ in range(30):
        batch = collate([{"text": "cat dog bird fish horse king queen castle"}])
        assert not beyond & set(batch["damaged_input_ids"][0].tolist())
