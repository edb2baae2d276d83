"""JSON: a key twice in one object is refused with its name, however deep the object is."""

from __future__ import annotations

import json

import pytest

from indexer import strict_json


@pytest.mark.parametrize("text", ['{"colour": 1, "colour": 2}', '[{"a": [{"colour": 1, "b": 2, "colour": 1}]}]'])
def test_a_key_twice_is_refused(text: str) -> None:
    """The error names the key, also where both values are equal."""
    with pytest.raises(strict_json.DuplicateKeyError, match="'colour' is there twice"):
        strict_json.loads(text)


def test_a_key_once_in_each_object_is_read() -> None:
    """The same key in different objects is no duplicate."""
    assert strict_json.loads('{"a": {"a": [{"b": 1}, {"b": 2}]}}') == {"a": {"a": [{"b": 1}, {"b": 2}]}}


@pytest.mark.parametrize(
    "text", [b'{"a": 1}', b"[]", b'"x"', "1e400", b'{"a"', b"\xef\xbb\xbf{}", "\ufeff{}", "[" * 100_000, b"NaN"]
)
def test_all_else_is_read_as_python_reads_it(text: str | bytes) -> None:
    """But for keys that are there twice, a text has the value or the error that `json.loads` gives."""
    outcomes = []
    for loads in (json.loads, strict_json.loads):
        try:
            outcomes.append(repr(loads(text)))
        except (json.JSONDecodeError, RecursionError) as error:
            outcomes.append(type(error).__name__)
    assert outcomes[0] == outcomes[1]
