"""A WordPiece tokenizer that is learned from the corpus, as a fast tokenizer of transformers.

Schuster and Nakajima 2012 («Japanese and Korean voice search»); learned by the merges of byte-pair encoding, as the library
`tokenizers` does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUES = "##"
COVERAGE = 0.9998
"""Share of the text's characters that the alphabet has; rarer ones would take the places of words, twice each."""
LEAST_COUNT = 2
MULTIPLE = 64
"""GPUs multiply matrices of such sizes faster."""


def learn_wordpiece(
    texts: Iterable[list[str]], alphabet: Sequence[str], *, vocab_size: int, lowercase: bool, strip_accents: bool
) -> Tokenizer:
    """Return a tokenizer whose vocabulary was learned from batches of texts; of the same texts always the same.

    The vocabulary is a multiple of 64: what a small corpus leaves free is filled with ``[unused0]``, ``[unused1]`` …

    Args:
        texts: the texts, in batches; read once.
        alphabet: the characters that are pieces of their own; see `choose_alphabet`.
        vocab_size: pieces at most, special ones and the alphabet included.
        lowercase: whether capital letters are made small.
        strip_accents: whether accents are taken off.
    """
    learner = _bare(lowercase=lowercase, strip_accents=strip_accents)
    # The library numbers the characters in the order in which its hash table has them, and breaks ties by number. So
    # they are given to it in an order of ours, as if they were special.
    inner = [CONTINUES + character for character in alphabet if _continues(learner, character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=LEAST_COUNT,
        special_tokens=[*SPECIAL, *alphabet, *inner],
        limit_alphabet=0,
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learned = learner.get_vocab()
    size = -(-len(learned) // MULTIPLE) * MULTIPLE
    learned |= {f"[unused{spare}]": number for spare, number in enumerate(range(len(learned), size))}
    tokenizer = _bare(learned, lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUES)
    cls, sep = "[CLS]", "[SEP]"
    tokenizer.post_processor = processors.BertProcessing((sep, learned[sep]), (cls, learned[cls]))
    return tokenizer


def _bare(vocabulary: dict[str, int] | None = None, *, lowercase: bool, strip_accents: bool) -> Tokenizer:
    model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)  # noqa: S106
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _continues(tokenizer: Tokenizer, character: str) -> bool:
    """Say whether a character can stand inside a word: punctuation and ideographs are words of their own."""
    word = tokenizer.normalizer.normalize_str(f"a{character}a")
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(word)) == 1


def normalizer(*, lowercase: bool, strip_accents: bool) -> normalizers.Normalizer:
    """Return what is done to a text before it is cut into words: control characters go, ideographs stand alone."""
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip_accents, lowercase=lowercase
    )


def choose_alphabet(texts: Iterable[list[str]], *, lowercase: bool, strip_accents: bool) -> list[str]:
    """Read batches of texts and return the most frequent characters, which cover `COVERAGE` of what is no white space."""
    counts: Counter[str] = Counter()
    prepare = normalizer(lowercase=lowercase, strip_accents=strip_accents)
    for batch in texts:
        counts.update(prepare.normalize_str("\n".join(batch)))
    for space in [character for character in counts if character.isspace()]:
        del counts[space]
    chosen: list[str] = []
    covered, enough = 0, counts.total() * COVERAGE
    for character, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if covered >= enough:
            break
        chosen.append(character)
        covered += count
    return sorted(chosen)


def fast_tokenizer(tokenizer: Tokenizer, max_length: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer as transformers' class, which loads what it saves wherever a BERT's is expected."""
    from transformers import PreTrainedTokenizerFast

    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    )
