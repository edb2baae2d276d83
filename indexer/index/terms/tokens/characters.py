"""Characters of words: which belong to a word, which are not shown, and which are spellings of one another."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import tantivy

CACHED_CLUSTERS = 1 << 17

IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Default_Ignorable_Code_Point of Unicode, as a character class."""
HAN = "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
UNSPACED_LETTERS = (
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\U0001b000-\U0001b16f"  # Hiragana, Katakana
    "\u3105-\u312f\u31a0-\u31bf\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"  # Bopomofo, Hangul
    "\u0e01-\u0e4e\u0e80-\u0ecf\u0edc-\u0edf"  # Thai, Lao
    "\u1780-\u17df\u1000-\u103f\u1050-\u108f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"  # Khmer, Myanmar
    "\u1950-\u197f\u1980-\u19cf\u1a20-\u1a7f\u1aa0-\u1aad\uaa80-\uaadf"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
    "\ua980-\ua9cf\u1b00-\u1b4f\ua000-\ua48f"  # Javanese, Balinese, Yi
)
"""Letters and marks of scripts without spaces, other than Chinese; Hangul too, for its particles and compounds."""
DIACRITICS = (
    "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"  # of any script
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew points
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"  # Arabic
    "\u093c\u09bc\u0a3c\u0abc\u0b3c"  # dots under letters of India
)
"""Marks that a query may leave out; vowel signs of India and voicing marks of Japan are none of them."""
LETTERS = str.maketrans({"\u06cc": "\u064a", "\u0649": "\u064a", "\u06a9": "\u0643", "\u0629": "\u0647", "\u0259": "e"})
"""Letters that Arabic, Persian and Urdu keyboards give for each other, and «ə», for which Azerbaijani has e in ASCII."""

IGNORED = re.compile(f"[{IGNORABLE}]+")
UNSPACED_LETTER = re.compile(f"[{HAN}{UNSPACED_LETTERS}]")
_DIACRITICS = re.compile(f"[{DIACRITICS}]+")
ZWNJ = "\u200c"
ARABIC = re.compile("[\u0620-\u064a\u066e-\u06d3\u06d5\u06ee\u06ef\u06fa-\u06ff\u0750-\u077f\u08a0-\u08c9]")
_JOINED = re.compile("[\u1160-\u11ff\ud7b0-\ud7ff\uff9e\uff9f\uffc2-\uffdc\u0e33\u0eb3]")
"""Letters that combine with the one before them: Korean vowels and finals, voicing marks of half-width Katakana, and the
vowel am of Thai and Lao, which is a mark and a letter in NFKC."""
MISPLACED = re.compile("([\u0e4d\u0ecd])([\u0e48-\u0e4b\u0ec8-\u0ecb])")
"""That mark before a tone: some keyboards and PDFs write it there, and it looks the same."""
APOSTROPHES = str.maketrans("_\u02bb\u02bc", "   ")
"""Apostrophes that count as letters; the others separate words, so these do too."""
_ASCII_WORDS = str.maketrans({chr(code): chr(code).lower() if chr(code).isalnum() else " " for code in range(128)})


def _marks() -> str:
    """Return all combining marks as a character class."""
    spans: list[list[int]] = []
    for code in range(0x300, 0x20000):
        if unicodedata.category(chr(code))[0] == "M":
            if spans and spans[-1][1] == code - 1:
                spans[-1][1] = code
            else:
                spans.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in spans)


_MARKS = _marks()
CHARACTER = re.compile(f"[^{_MARKS}][{_MARKS}]*")
_ENCLOSING = "\u0488\u0489\u1abe\u20dd-\u20e0\u20e2-\u20e4\ua670-\ua672"
ODD = re.compile(f"[{IGNORABLE}{_ENCLOSING}]")
WORD = re.compile(rf"[\w\u24b6-\u24e9\u3200-\u33ff\u2103\u2109\u2116{_MARKS}{IGNORABLE}]+")
"""Letters, numbers, their marks, what is not shown, and symbols that stand for words («㎏», «№»)."""
ASCII_WORD = re.compile("[A-Za-z0-9]+")
"""What `WORD` finds in a text of ASCII without underscores, which separate words as `APOSTROPHES` do."""
_RARE = re.compile("[^\0-\xac\xae-\u02ba\u02bd-\u02ff\u2010-\u2027\u2030-\u205e\u20a0-\u20bf]")
"""All but Latin letters, punctuation and currencies. Without them, a much simpler pattern finds the same words."""
_LETTERS = re.compile(r"[^\W_]+")


def written_words(text: str, *, turkish: bool) -> list[str]:
    """Return the runs of letters, marks and characters that are not shown; ASCII in lower case, except in Turkish."""
    if text.isascii() and not turkish:
        return text.translate(_ASCII_WORDS).split()
    if not _RARE.search(text):
        return _LETTERS.findall(text)
    return WORD.findall(text.translate(APOSTROPHES))


def fold(form: str) -> str:
    """Return a normalised word without accents: «łódka» → «lodka», «ёлка» → «елка»; digits become 0 to 9."""
    if form.isascii():
        return form
    bare = _DIACRITICS.sub("", unicodedata.normalize("NFD", form)).translate(LETTERS)
    bare = "".join(str(unicodedata.digit(letter)) if letter.isdecimal() else letter for letter in bare)
    return "".join(_ascii_folder().analyze(unicodedata.normalize("NFC", bare)))


@lru_cache(maxsize=1)
def _ascii_folder() -> tantivy.TextAnalyzer:
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).filter(tantivy.Filter.ascii_fold()).build()


@lru_cache(maxsize=CACHED_CLUSTERS)
def normalise(cluster: str, *, turkish: bool) -> str:
    """Return NFKC and case folding of a letter with its marks, without what is not shown."""
    text = unicodedata.normalize("NFKC", ODD.sub("", cluster))
    text = fold_case(MISPLACED.sub(r"\2\1", text), turkish=turkish)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())  # each may undo the other
    return text.replace("i\u0307", "i")


def fold_case(text: str, *, turkish: bool) -> str:
    """Return the text in the form that all its cases share; Turkish has two letters i, and case for each."""
    return (text.replace("İ", "i").replace("I", "ı") if turkish else text).casefold()


def clusters(word: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each letter with the characters that combine with it."""
    start = 0
    for place in range(1, len(word)):
        character = word[place]
        if character.isascii() or not (
            unicodedata.category(character)[0] == "M" or IGNORED.match(character) or _JOINED.match(character)
        ):
            yield start, place
            start = place
    if word:
        yield start, len(word)
