"""JSON: a key twice in one object is refused with its name, however deep the object is."""

from __future__ import annotations

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
