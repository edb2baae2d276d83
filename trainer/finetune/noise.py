"""Deletion noise: the damaged text from which TSDAE's encoder has to keep what matters.

The noise is made anew for every batch, so that an epoch never shows the same damage twice, and needs no word lists: a
word is what stands between spaces, and in scripts that write none (Chinese, Japanese, Thai and their like) a character
with the marks that belong to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import regex
import torch
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from transformers import PreTrainedTokenizerBase

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
UNIT = regex.compile(rf"(?:[{_UNSPACED}]\p{{M}}*|[^\s{_UNSPACED}]+)\s*")
"""A word or a character of a script without spaces, with the white space after it."""


def delete_words(text: str, ratio: float, generator: torch.Generator | None = None) -> str:
    """Return ``text`` without a random share of its words; at least one is kept.

    Args:
        text: the text; one without any word comes back as it is.
        ratio: the probability with which each word is deleted, 0 to 1. The paper found 0.6 best.
        generator: the source of chance; by default torch's own, which is seeded and kept in checkpoints.

    The noise of TSDAE (Wang et al. 2021, https://arxiv.org/abs/2104.06979).
    """
    units: list[str] = UNIT.findall(text)
    if not units:
        return text
    chance = torch.rand(len(units), generator=generator)
    kept = (chance >= ratio).tolist()
    if not any(kept):
        kept[int(chance.argmax())] = True
    return "".join(unit for unit, stays in zip(units, kept, strict=True) if stays).strip()


@dataclass
class DeletionCollator(SentenceTransformerDataCollator):
    """Makes batches of (damaged text, text) from rows with a column ``text``.

    A long text is cut to ``max_length`` tokens before it is damaged: the decoder is not asked for words that the
    encoder cannot have seen, and the encoder sees none that the decoder is not asked for.
    """

    tokenizer: PreTrainedTokenizerBase | None = None
    ratio: float = 0.6

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the features of the damaged and of the whole texts, tokenized and padded."""
        texts = self._cut([row["text"] for row in features])
        rows = [{"damaged": delete_words(text, self.ratio), "text": text} for text in texts]
        batch: dict[str, Any] = super().__call__(rows)
        return batch

    def _cut(self, texts: list[str]) -> list[str]:
        if self.tokenizer is None or not isinstance(self.max_length, int):
            return texts
        offsets = self.tokenizer(
            texts, truncation=True, max_length=self.max_length, return_offsets_mapping=True, return_attention_mask=False
        )["offset_mapping"]
        return [text[: max(end for _, end in spans)] for text, spans in zip(texts, offsets, strict=True)]
