"""Every Arrow type × odd values: a row is refused by name when the index is built, or it can be served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from service.app import create_app
from service.settings import ServiceSettings

ROWS = 12
DAY = 86_400
TEXTS = [b"villa", b"", "naïve ñ".encode(), b"\xff\xfe", b"caf\xe9", b"\x00", "\u202e\U0001f408".encode(), None]
ZONES = [None, "UTC", "Europe/Berlin", "+05:30", "tzutc()", "utc", "UTC+1", "US/Pacific-New", "-0330", "Z"]
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
SECONDS = [
    0,
    1,
    -1,
    1_700_000_000,
    -62_135_596_801,
    -70_000_000_000,
    253_402_300_800,
    300_000_000_000,
    10**13,
    -(10**13),
]
Strategy = st.SearchStrategy[pa.Array]


def numbers(kind: pa.DataType, values: list[int | None]) -> Strategy:
    """Arrays of ``kind`` that hold ``values`` as raw integers."""
    raw = pa.int32() if kind.bit_width == 32 else pa.int64()
    limit = 2 ** (raw.bit_width - 1) - 1
    pool = [value for value in values if value is None or abs(value) <= limit]
    return st.lists(st.sampled_from(pool), min_size=ROWS, max_size=ROWS).map(lambda v: pa.array(v, raw).view(kind))


def some(kind: pa.DataType, values: list[Any]) -> Strategy:
    """Arrays of ``kind`` made of Python values."""
    return st.lists(st.sampled_from(values), min_size=ROWS, max_size=ROWS).map(lambda v: pa.array(v, kind))


def texts(kind: pa.DataType) -> Strategy:
    """Arrays of text, some of it no UTF-8."""
    raw = pa.large_binary() if kind == pa.large_string() else pa.binary()
    return some(raw, TEXTS).map(lambda array: array.view(kind))


def moments(unit: str) -> list[Strategy]:
    """Arrays of moments and durations of one unit."""
    step = UNITS[unit]
    values = [None, *(second * step + odd for second in SECONDS for odd in (0, 1))]
    zoned = [numbers(pa.timestamp(unit, zone), values) for zone in ZONES]
    return [st.one_of(zoned), numbers(pa.duration(unit), [*values, 2**62])]


def clocks(kind: pa.DataType, step: int) -> Strategy:
    """Arrays of times of day, some beyond the day."""
    return numbers(kind, [None, 0, 1, 3_600 * step, DAY * step - 1, DAY * step, -1])


def leaves() -> Strategy:
    """Arrays of every type that is not nested."""
    whole = [
        some(kind, [0, 1, None, np.iinfo(kind.to_pandas_dtype()).max, np.iinfo(kind.to_pandas_dtype()).min])
        for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
    ]
    floats = [0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf"), None]
    encoded = st.builds(
        lambda codes, words: pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), words),
        st.lists(st.one_of(st.none(), st.integers(0, ROWS - 1)), min_size=ROWS, max_size=ROWS),
        texts(pa.string()),
    )
    return st.one_of(
        *whole,
        *(some(kind, floats) for kind in (pa.float32(), pa.float64())),
        some(pa.float16(), [None if value is None else np.float16(value) for value in floats]),
        some(pa.bool_(), [True, False, None]),
        some(pa.decimal128(38, 10), [None, 0, 10**27, -(10**27)]),
        some(pa.decimal256(60, 2), [None, 0, 10**50]),
        some(pa.null(), [None]),
        some(pa.binary(), TEXTS),
        some(pa.binary(2), [b"\xff\x00", b"ab", None]),
        texts(pa.string()),
        texts(pa.large_string()),
        encoded,
        numbers(pa.date32(), [None, 0, -719_163, 2_932_897, 10_000_000, 2**31 - 1, -(2**31) + 1]),
        clocks(pa.time32("s"), 1),
        clocks(pa.time32("ms"), 10**3),
        clocks(pa.time64("us"), 10**6),
        clocks(pa.time64("ns"), 10**9),
        *(strategy for unit in UNITS for strategy in moments(unit)),
    )


def nested(inner: Strategy) -> Strategy:
    """Arrays of lists, structs and maps over ``inner``."""
    bounds = pa.array([0, 0, *range(2, ROWS + 1, 1), ROWS][: ROWS + 1], pa.int32())
    keys = pa.array([f"key {number}" for number in range(ROWS)])
    return st.one_of(
        inner.map(lambda values: pa.ListArray.from_arrays(bounds, values)),
        inner.map(lambda values: pa.LargeListArray.from_arrays(bounds.cast(pa.int64()), values)),
        inner.map(lambda values: pa.FixedSizeListArray.from_arrays(values, 1)),
        inner.map(lambda values: pa.StructArray.from_arrays([values, keys], names=["part", "key"])),
        inner.map(lambda values: pa.MapArray.from_arrays(bounds, keys, values)),
    )


COLUMNS = st.lists(st.recursive(leaves(), nested, max_leaves=3), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes a new folder for one example."""
    return partial(tmp_path_factory.mktemp, "odd")


@seed(20_261_129)
@settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate]
)
@given(columns=COLUMNS)
def test_refused_by_name_or_served(folder: Callable[[], Path], tiny_data: Path, columns: list[pa.Array]) -> None:
    """What the build accepts can be fetched, searched, filtered and counted; what it refuses is named by row and column."""
    data = folder() / "data"
    shutil.copytree(tiny_data, data)
    table = {f"c{number}": column for number, column in enumerate(columns)}
    words = [f"the cat number {row} in the garden" for row in range(ROWS)]
    corpus = data / "corpus.parquet"
    pq.write_table(pa.table({"id": [str(row) for row in range(ROWS)], "text": words, **table}), corpus)
    try:
        manifest = build(str(corpus), BuildSettings(language="en", skip_bad_rows=True), data).manifest
    except UserError as error:
        assert "no row is a document" in str(error) and "column 'c" in str(error)  # noqa: PT017 - it need not be raised
        return
    rejects = Store("index", data).path(manifest.id) / "rejects.jsonl"
    refused = [json.loads(line) for line in rejects.read_text().splitlines()] if rejects.exists() else []
    assert all("column 'c" in reject["reason"] for reject in refused)
    accepted = {str(row) for row in range(ROWS)} - {reject["id"] for reject in refused}
    with TestClient(create_app(ServiceSettings(data=data)), raise_server_exceptions=False) as client:
        served = check_documents(client, accepted)
        assert served == accepted
        for name in table:
            check_column(client, name, accepted)


def check_documents(client: TestClient, accepted: set[str]) -> set[str]:
    """Fetch each document, and return the ids that a search finds."""
    answer = client.post("/search", json={"query": "cat", "top_k": ROWS})
    assert answer.status_code == 200, answer.text
    results = {hit["id"]: hit["metadata"] for hit in answer.json()["results"]}
    for key in accepted:
        document = client.get(f"/documents/{key}")
        assert document.status_code == 200, document.text
        assert document.json()["metadata"] == results[key]
        assert "out of range" not in document.text
    return set(results)


def check_column(client: TestClient, name: str, accepted: set[str]) -> None:
    """Filter and count by one column; each value that a facet counts selects as many documents as it says."""

    def search(**body: Any) -> Any:
        answer = client.post("/search", json={"query": "cat", "top_k": ROWS, **body})
        assert answer.status_code in (200, 422), answer.text
        return answer.json() if answer.status_code == 200 else None

    present = search(filter={"field": name, "op": "exists"})
    absent = search(filter={"must_not": [{"field": name, "op": "exists"}]})
    if present:
        assert {hit["id"] for answer in (present, absent) for hit in answer["results"]} == accepted
    counted = search(facets=[{"field": name, "limit": ROWS}])
    for value in counted["facets"][name]["values"] if counted else []:
        found = search(filter={"field": name, "op": "eq", "value": value["value"]})
        if found and isinstance(value["value"], (int, bool)):
            assert len(found["results"]) == value["count"]
