"""Filter expressions: values are bound, and never a part of the text, also where a server has no templates."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pymilvus.client.prepare import Prepare

from indexer.filters.filter import Filter
from indexer.milvus.engine import Engine
from indexer.milvus.fields import choose_fields
from indexer.milvus.filtering.expression import Expression, literal
from indexer.milvus.filtering.filter import next_text, translate

TYPES = {
    "id": pa.string(), "kind": pa.string(), "rooms": pa.int8(), "price": pa.float32(), "sold": pa.bool_(),
    "tags": pa.list_(pa.string()), "raw": pa.binary(), "nothing": pa.null(),
}  # fmt: skip
FIELDS = {field.path: field for field in choose_fields(TYPES)}
EVIL = 'x" or number >= 0 or kind == "'


def test_values_of_a_request_are_bound():
    """The text holds names in place of values, and pymilvus sends the values beside it, with their types."""
    tree = Filter.model_validate(
        {
            "must": [{"field": "kind", "in": [EVIL, "b"]}, {"field": "rooms", "gte": 2}, {"field": "price", "lt": 0.1}],
            "must_not": [{"field": "sold", "eq": True}, {"field": "tags", "eq": EVIL}],
        }
    )
    where = translate(tree, TYPES, FIELDS)
    assert EVIL not in where.text
    sent = Prepare.prepare_expression_template(dict(where.values))
    assert set(sent) == set(where.values)
    assert list(sent["v0"].array_val.string_data.data) == [EVIL, "b"]
    assert sent["v1"].int64_val == 2
    assert sent["v2"].float_val == float(pa.scalar(0.1, pa.float32()).as_py())
    assert sent["v3"].bool_val is True


def test_a_server_gets_the_values_beside_the_expression():
    """A server with templates is sent the names and the values; Milvus Lite, which has none, literals."""
    calls = []

    class Client:
        def query(self, _: str, **options: object) -> list[dict[str, object]]:
            calls.append(options)
            return []

    engine = Engine("http://127.0.0.1:1")
    engine._client = Client()
    where = Expression("kind == {v0}", {"v0": EVIL})
    engine.query("c", where, ["kind"])
    assert (calls[-1]["filter"], calls[-1]["filter_params"]) == ("kind == {v0}", {"v0": EVIL})
    engine._literal = True
    engine.query("c", where, ["kind"])
    assert calls[-1]["filter"] == r'kind == "x\" or number >= 0 or kind == \""'
    assert "filter_params" not in calls[-1]


def test_literals():
    """A text stays one literal whatever it holds: also one that looks like a name."""
    assert literal('a"\\\n{v1}') == r'"a\"\\\n{v1}"'
    both = Expression("a == {v0} and b == {v1}", {"v0": "{v1}", "v1": [1, -2.5, True]})
    assert both.as_literals() == 'a == "{v1}" and b == [1, -2.5, true]'
    with pytest.raises(TypeError, match="no literal"):
        literal(None)


def test_expressions_are_joined_with_all_their_values():
    """Two expressions hold together, and never share a name."""
    one, other = Expression("a or b", {"v": 1}), Expression("c", {"w": 2})
    assert one & other == Expression("(a or b) and (c)", {"v": 1, "w": 2})
    assert one & Expression("") == one == Expression("") & one
    with pytest.raises(ValueError, match="'v'"):
        _ = one & one


def test_the_next_text_is_above_all_with_the_beginning():
    """A prefix is the range from it to the next text by code points."""
    assert next_text("ab") == "ac"
    assert next_text("a\U0010ffff") == "b"
    assert next_text("\ud7ff") == "\ue000"  # no surrogates
    assert next_text("\U0010ffff") is None
    assert next_text("") is None
