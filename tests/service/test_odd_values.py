"""Every Arrow type × odd values: a row is refused by name when the index is built, or it is served, and stays the same.

Tables are generated from a seed. Rows in `ODD_ROWS` may get values that no answer can hold; all other rows get values that
are strange and sound. So it is known which rows must be refused.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.settings import BuildSettings
from indexer.corpus.corpus import Corpus
from indexer.index.arrow import to_python
from indexer.index.index import Index
from indexer.progress import quiet
from service.app import create_app
from service.settings import ServiceSettings

ROWS = 12
ODD_ROWS = (3, 7)
UNNESTED = (pa.uuid(), pa.string_view())
"""Types that this test, or Arrow, cannot put into lists."""
MAX_VALUES = 2
"""Values of a facet that are looked up."""
DAY = 86_400
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
STORED = {"time32[s]": pa.time32("ms"), "date64[ms]": pa.date32()}
"""Types that Parquet does not have → those that it has in their place."""
ZONES = [None, "UTC", "Europe/Berlin", "+05:30", "Etc/GMT+5", "EST5EDT"]
UNKNOWN_ZONES = ["tzutc()", "utc", "UTC+1", "US/Pacific-New", "-0330", "Z"]
TEXTS = [b"villa", b"", "naïve ñ".encode(), b"\x00", "\u202e\U0001f408".encode(), b"10:00", b"PT3S", None]
BAD_TEXTS = [b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80"]
SECONDS = [0, 1, -1, 1_700_000_000, -62_135_596_801, -70_000_000_000, 253_402_300_800, 300_000_000_000]
BAD_SECONDS = [10**13, -(10**13)]
FLOATS = [0.0, -0.0, 1.5, 1e-7, float("nan"), float("inf"), float("-inf"), None]


@dataclass(frozen=True)
class Column:
    """A column as it is written, the same as an index should keep it, and the rows that must be refused."""

    written: pa.Array
    kept: pa.Array
    refused: frozenset[int] = frozenset()

    @property
    def is_scalar(self) -> bool:
        """Say whether its values are no lists, structs or maps."""
        return not pa.types.is_nested(self.kept.type)


def draw(random: Random, sound: list[Any], bad: list[Any]) -> tuple[list[Any], frozenset[int]]:
    """Return a value for each row, and the rows with one of ``bad``."""
    odd = frozenset(row for row in ODD_ROWS if bad and random.random() < 0.5)
    return [random.choice(bad if row in odd else sound) for row in range(ROWS)], odd


def plain(random: Random, kind: pa.DataType, sound: list[Any]) -> Column:
    """Return a column of Python values of which all are sound."""
    column = pa.array(draw(random, sound, [])[0], kind)
    return Column(column, column)


def numbers(random: Random, kind: pa.DataType, sound: list[int | None], bad: list[int]) -> Column:
    """Return a column whose values are given as whole numbers, as far as the type's size allows."""
    raw = pa.int32() if kind.bit_width == 32 else pa.int64()
    limit = 2 ** (raw.bit_width - 1) - 1
    sound = [value for value in sound if value is None or abs(value) <= limit]
    values, odd = draw(random, sound, [value for value in bad if abs(value) <= limit])
    column = pa.array(values, raw).view(kind)
    return Column(column, column.cast(STORED.get(str(kind), kind), safe=False), odd)


def texts(random: Random, kind: pa.DataType) -> Column:
    """Return a column of text, some of it no UTF-8."""
    values, odd = draw(random, TEXTS, BAD_TEXTS)
    column = pa.array(values, pa.binary()).view(pa.string())
    view = pa.array(values, pa.binary_view()).view(pa.string_view())
    return Column(view if kind == pa.string_view() else column.cast(kind), column, odd)


def dictionary(random: Random, index: pa.DataType) -> Column:
    """Return a column of text that is written as a dictionary."""
    column = texts(random, pa.string())
    words = list(dict.fromkeys(column.kept.cast(pa.binary()).to_pylist()))
    codes = [None if value is None else words.index(value) for value in column.kept.cast(pa.binary()).to_pylist()]
    values = pa.array([word or b"" for word in words], pa.binary()).view(pa.string())
    return replace(column, written=pa.DictionaryArray.from_arrays(pa.array(codes, index), values))


def moments(random: Random, unit: str, zone: str | None) -> Column:
    """Return a column of moments."""
    step = UNITS[unit]
    sound = [None, *(second * step + odd for second in SECONDS for odd in (0, 1))]
    column = numbers(random, pa.timestamp(unit, zone), sound, [second * step for second in BAD_SECONDS])
    kept = column.kept.cast(pa.timestamp("ms" if unit == "s" else unit, "UTC" if zone in UNKNOWN_ZONES else zone))
    return replace(column, kept=kept)


def clock(random: Random, kind: pa.DataType, step: int) -> Column:
    """Return a column of times of day."""
    return numbers(random, kind, [None, 0, 1, 3_600 * step, DAY * step - 1], [DAY * step, -1])


def uuids(random: Random) -> Column:
    """Return a column of UUIDs, which an index keeps as text."""
    values = [None if row == 1 else UUID(int=random.getrandbits(128)) for row in range(ROWS)]
    written = pa.array([value and value.bytes for value in values], pa.uuid())
    return Column(written, pa.array([value and str(value) for value in values], pa.string()))


def leaves(random: Random) -> list[Column]:
    """Return a column of every type that is not nested."""
    whole = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
    limits = [np.iinfo(kind.to_pandas_dtype()) for kind in whole]
    return [
        *(plain(random, kind, [0, 1, None, limit.max, limit.min]) for kind, limit in zip(whole, limits, strict=True)),
        *(plain(random, kind, FLOATS) for kind in (pa.float32(), pa.float64())),
        plain(random, pa.float16(), [value if value is None else np.float16(value) for value in FLOATS]),
        plain(random, pa.bool_(), [True, False, None]),
        plain(random, pa.decimal32(5, 2), [None, Decimal("999.99"), Decimal("-0.01")]),
        plain(random, pa.decimal64(15, 2), [None, Decimal("9999999999999.99"), 0]),
        plain(random, pa.decimal128(38, 10), [None, 0, 10**27, -(10**27), Decimal("0.0000000001")]),
        plain(random, pa.decimal256(60, 2), [None, 0, 10**50, Decimal("-0.25")]),
        plain(random, pa.null(), [None]),
        *(plain(random, kind, TEXTS + BAD_TEXTS) for kind in (pa.binary(), pa.large_binary())),
        plain(random, pa.binary(2), [b"\xff\x00", b"ab", None]),
        *(texts(random, kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
        *(dictionary(random, index) for index in (pa.int8(), pa.int32())),
        uuids(random),
        numbers(random, pa.date32(), [None, 0, -719_163, 2_932_897, 10_000_000], [2**31 - 1, -(2**31) + 1]),
        numbers(random, pa.date64(), [None, 0, -719_163 * DAY * 1000, 2_932_897 * DAY * 1000], [10**17 * 864 // 10]),
        *(clock(random, pa.time32(unit), UNITS[unit]) for unit in ("s", "ms")),
        *(clock(random, pa.time64(unit), UNITS[unit]) for unit in ("us", "ns")),
        *(moments(random, unit, random.choice(zones)) for unit in UNITS for zones in ([None], ZONES, UNKNOWN_ZONES)),
        *(numbers(random, pa.duration(unit), [None, 0, -1, 86_400_001, 2**62, -(2**62)], []) for unit in UNITS),
    ]


def nest(random: Random, column: Column) -> Column:
    """Return a column of lists, structs or maps of the values of another; rows that must be refused stay the same."""
    row = np.arange(ROWS)
    empty = random.choice([number for number in range(ROWS) if number not in ODD_ROWS])
    counts = np.where(row == empty, 0, 2)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    twice = pa.array(np.repeat(row, counts))
    keys = pa.array([f"key {number}" for number in range(len(twice))])
    inner = [(values, values.take(twice)) for values in (column.written, column.kept)]
    shape = random.choice(["list", "large_list", "view", "fixed", "struct", "map"])
    if shape == "list":
        written, kept = (pa.ListArray.from_arrays(offsets, values) for _, values in inner)
    elif shape == "large_list":
        written, kept = (pa.LargeListArray.from_arrays(offsets.astype(np.int64), values) for _, values in inner)
    elif shape == "view":
        sizes = pa.array(counts, pa.int32())
        written = pa.ListViewArray.from_arrays(pa.array(offsets[:-1]), sizes, inner[0][1])
        kept = pa.ListArray.from_arrays(offsets, inner[1][1])
    elif shape == "fixed":
        written, kept = (pa.FixedSizeListArray.from_arrays(values, 1) for values, _ in inner)
    elif shape == "struct":
        written, kept = (
            pa.StructArray.from_arrays([values, pa.array(row)], names=["a part", "n"]) for values, _ in inner
        )
    else:
        written, kept = (pa.MapArray.from_arrays(offsets, keys, values) for _, values in inner)
    return Column(written, kept, column.refused)


def generate(seed: int) -> dict[str, Column]:
    """Return a table: every simple type, most of them also nested, and some of them nested twice."""
    random = Random(seed)
    simple = leaves(random)
    others = [column for column in leaves(random) if column.written.type not in UNNESTED]
    once = [nest(random, column) for column in random.sample(others, 3 * len(others) // 4)]
    deep = [nest(random, column) for column in random.sample(once, len(once) // 3)]
    return {f"c{number}": column for number, column in enumerate([*simple, *once, *deep])}


@pytest.mark.parametrize("seed", range(3))
def test_bad_values_of_each_column(tmp_path: Path, seed: int) -> None:
    """In every column, plain or nested, exactly the rows with a value that no answer can hold are refused by its name."""
    ids = [str(row) for row in range(ROWS)]
    path = tmp_path / "corpus.parquet"
    for name, column in generate(seed).items():
        pq.write_table(pa.table({"id": ids, "text": ids, name: column.written}), path)
        with quiet():
            corpus = Corpus.check(str(path), skip_bad_rows=True)
            (batch,) = corpus.batches()
        batch.validate(full=True)
        assert {reject.row - 1 for reject in corpus.rejects} == column.refused, (name, column.written.type)
        assert all(reject.reason.endswith(f" in column {name!r}") for reject in corpus.rejects)
        accepted = pa.array([row for row in range(ROWS) if row not in column.refused])
        stored = batch.column("metadata").field(0)
        assert python(stored) == python(column.kept.take(accepted)), (name, column.written.type)


@pytest.mark.parametrize("seed", [20261129, 20261130])
def test_served_and_written_back(tmp_path: Path, tiny_data: Path, seed: int) -> None:
    """Rows that were not refused are found, filtered, counted, grouped and written back, and are the same afterwards."""
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    table = generate(seed)
    expected = {row: {name for name, column in table.items() if row in column.refused} for row in ODD_ROWS}
    columns = {
        "id": [str(row) for row in range(ROWS)],
        "text": [f"the cat number {row} is here" for row in range(ROWS)],
    }
    pq.write_table(
        pa.table(columns | {name: column.written for name, column in table.items()}), data / "corpus.parquet"
    )
    manifest = build(str(data / "corpus.parquet"), BuildSettings(language="en", skip_bad_rows=True), data).manifest
    rejects = read_rejects(Store("index", data).path(manifest.id) / "rejects.jsonl")
    assert rejects.keys() == {str(row) for row, names in expected.items() if names}
    for key, reason in rejects.items():
        assert reason.rpartition(" in column ")[2].strip("'") in expected[int(key)], reason
    accepted = [row for row in range(ROWS) if str(row) not in rejects]
    check_stored(data, table, accepted)
    with TestClient(create_app(ServiceSettings(data=data, writable=True)), raise_server_exceptions=False) as client:
        before = check_documents(client)
        assert before.keys() == set(map(str, accepted))
        for name, column in table.items():
            check_column(client, name, column, set(before))
        write_back(client, before)
    assert compact(data).fresh
    check_stored(data, table, accepted, through_json=True)
    with TestClient(create_app(ServiceSettings(data=data)), raise_server_exceptions=False) as client:
        assert check_documents(client) == before


def read_rejects(path: Path) -> dict[str, str]:
    """Return id → reason."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {reject["id"]: reject["reason"] for reject in map(json.loads, lines)}


def python(column: pa.Array | pa.ChunkedArray) -> list[str]:
    """Return values in a form in which NaN equals NaN."""
    return [repr(to_python(value)) for value in column]


def check_stored(data: Path, table: dict[str, Column], accepted: list[int], *, through_json: bool = False) -> None:
    """Check that the live index holds exactly the values that were written.

    With ``through_json`` they have been written back as JSON, which has neither NaN nor infinity: those are null.
    """
    index = Index.open(Store("index", data).resolve())
    ids = index.column("id").to_pylist()
    order = pa.array([ids.index(str(row)) for row in accepted])
    for name, column in table.items():
        stored, kept = (
            python(values) for values in (index.column(name).take(order), column.kept.take(pa.array(accepted)))
        )
        if through_json:
            kept = [re.sub(r"-?\b(nan|inf)\b", "None", value) for value in kept]
        changed = [pair for pair in zip(stored, kept, strict=True) if pair[0] != pair[1]]
        assert not changed, (name, column.kept.type, changed)


def check_documents(client: TestClient) -> dict[str, Any]:
    """Fetch each document that a search finds, and return them by id."""
    answer = client.post("/search", json={"query": "cat", "top_k": ROWS})
    assert answer.status_code == 200, answer.text
    documents = {}
    for hit in answer.json()["results"]:
        document = client.get(f"/documents/{hit['id']}")
        assert document.status_code == 200, document.text
        assert document.json()["metadata"] == hit["metadata"]
        documents[hit["id"]] = {name: document.json()[name] for name in ("id", "title", "text", "metadata")}
    return documents


def check_column(client: TestClient, name: str, column: Column, ids: set[str]) -> None:
    """Filter, count and group by one column; a value that a facet counts selects as many documents as it says."""

    def search(**body: Any) -> Any:
        answer = client.post(
            "/search", json={"query": "cat", "mode": "lexical", "top_k": ROWS, "fields": [name], **body}
        )
        assert answer.status_code in (200, 422), (name, column.kept.type, body, answer.text)
        return answer.json() if answer.status_code == 200 else None

    def found(**body: Any) -> set[str]:
        answer = search(**body)
        assert answer, (name, column.kept.type, body)
        return {hit["id"] for hit in answer["results"]}

    if not pa.types.is_struct(column.kept.type):
        present, absent = (found(filter={"must": [{"field": name, "exists": exists}]}) for exists in (True, False))
        assert present | absent == ids and not present & absent, (name, column.kept.type)
    if counted := search(facets=[{"field": name, "limit": ROWS}]):
        for value in counted["facets"][name]["values"][:MAX_VALUES]:
            if value["value"] is not None:
                selected = found(filter={"must": [{"field": name, "eq": value["value"]}]})
                assert len(selected) == value["count"], (name, column.kept.type, value)
    grouped = search(group_by=name)
    assert (grouped is not None) == column.is_scalar, (name, column.kept.type)


def write_back(client: TestClient, documents: dict[str, Any]) -> None:
    """Put every document as it was fetched; nothing may change by it."""
    answer = client.put("/documents", json={"documents": list(documents.values())})
    assert answer.status_code == 200, answer.text
    for key, document in documents.items():
        metadata = client.get(f"/documents/{key}").json()["metadata"]
        before = document["metadata"]
        assert not {name: (before[name], metadata[name]) for name in metadata if metadata[name] != before[name]}, key
