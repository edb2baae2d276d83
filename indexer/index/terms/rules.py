"""Rules for the words of queries: synonyms and stop words of one's own, read from text files.

    sofa, couch                      each of them finds the others
    tv => television set, telly      tv finds the others; they do not find tv
    # a comment

Each may have several words. Stop words stand one on a line. The rules apply to queries in the lexical leg alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.errors import UserError

RULE_FILES = {"synonyms": "synonyms.txt", "stop_words": "stop_words.txt"}
"""Name of the setting → name of the file in an index."""
MAX_RULES = 100_000
ARROW = "=>"


@dataclass(frozen=True, eq=False)
class Rules:
    """Synonyms and stop words.

    Attributes:
        synonyms: phrase → the phrases that are searched beside it.
        stop_words: words that are not searched.
    """

    synonyms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    stop_words: tuple[str, ...] = ()

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Rules:
        """Return the rules that `dataclasses.asdict` has made a dictionary, also after JSON."""
        synonyms = tuple((phrase, tuple(others)) for phrase, others in content.get("synonyms", ()))
        return cls(synonyms, tuple(content.get("stop_words", ())))

    def __bool__(self) -> bool:
        return bool(self.synonyms or self.stop_words)


NO_RULES = Rules()


def read_rules(synonyms: Path | None = None, stop_words: Path | None = None) -> Rules:
    """Read files of rules; None for none.

    Raises:
        UserError: a file cannot be read, or a line is not understood.
    """
    return Rules(
        synonyms=_read_synonyms(synonyms) if synonyms else (),
        stop_words=tuple(word for _, word in _lines(stop_words)) if stop_words else (),
    )


def rules_of_index(folder: Path) -> Rules:
    """Return the rules with which an index was built."""
    paths = {name: folder / file for name, file in RULE_FILES.items()}
    return read_rules(**{name: path for name, path in paths.items() if path.is_file()})


def _read_synonyms(path: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
    others: dict[str, dict[str, None]] = {}
    for place, line in _lines(path):
        left, arrow, right = line.partition(ARROW)
        names, targets = _phrases(left), _phrases(right)
        enough = names and targets if arrow else len(names) > 1
        if ARROW in right or not enough or not all([*names, *targets]):
            raise UserError(f"{place}: {line!r} is not understood; write `a, b` for both ways, or `a => b, c` for one")
        for name in names:
            found = others.setdefault(name, {})
            found |= dict.fromkeys(each for each in (targets if arrow else names) if each != name)
    return tuple((name, tuple(found)) for name, found in others.items())


def _phrases(text: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in text.split(",")] if text.strip() else []


def _lines(path: Path) -> list[tuple[str, str]]:
    """Return file and number, and the text, of each line that is neither empty nor a comment."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the path of a text file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8; save it as UTF-8 text") from error
    found = [
        (f"{path}:{number}", text)
        for number, line in enumerate(lines, 1)
        if (text := line.strip()) and not text.startswith("#")
    ]
    if len(found) > MAX_RULES:
        raise UserError(f"{path}: {len(found):,} lines; at most {MAX_RULES:,} are read")
    return found
