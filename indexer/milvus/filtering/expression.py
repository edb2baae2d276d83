"""Filter expressions of Milvus. Values of a request are bound to names in them, and are never a part of the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ESCAPES = str.maketrans({'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
"""The escapes that Milvus Lite knows; all other characters stand in a text as they are."""
_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Expression:
    """A filter expression; an empty text lets every row pass.

    Attributes:
        text: with names of values in braces, as Milvus's templates have them.
        values: value of each name.
    """

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __and__(self, other: Expression) -> Expression:
        """Return the expression that both hold; their names differ."""
        if not self.text or not other.text:
            return self if self.text else other
        if shared := self.values.keys() & other.values.keys():
            raise ValueError(f"both expressions have a value {min(shared)!r}")
        return Expression(f"({self.text}) and ({other.text})", {**self.values, **other.values})

    def as_literals(self) -> str:
        """Return the text with each value as a literal of its type, for Milvus Lite, which has no templates."""
        return _NAME.sub(lambda match: literal(self.values[match[1]]), self.text)


def literal(value: Any) -> str:
    """Return a value as a literal of Milvus's expressions.

    Raises:
        TypeError: the value is of none of the types that a condition has.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    raise TypeError(f"no literal for {type(value).__name__}")
