"""Documents that are written while an index is served are treated as it was built: HTML becomes text, texts become lists."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.settings import BuildSettings
from service.app import create_app
from service.settings import ServiceSettings

ROWS = {
    "id": ["a", "b"],
    "title": ["The cat", "Dogs &amp; rivers"],
    "text": ["<p>The <b>cat</b> sits in the garden.</p>", "The dog runs &mdash; by the river."],
    "tags": ["pet, soft", None],
}


@pytest.fixture
def shop(data: Path) -> Path:
    """Return a data directory with an index of texts in HTML, and lists made of texts."""
    pq.write_table(pa.table(ROWS), data / "shop.parquet")
    build(str(data / "shop.parquet"), BuildSettings(language="en", list_columns="tags"), data)
    return data


def client_of(data: Path) -> TestClient:
    """Return a client of a service that takes writes."""
    return TestClient(create_app(ServiceSettings(data=data, writable=True, poll_seconds=0.02)))


def test_live_documents_are_read_like_built_ones(shop: Path) -> None:
    """The same row has the same text, passages and lists, built, written, and folded into the next index."""
    row = {"title": "Ships &amp; sea", "text": "<p>The ship</p><p>at <i>sea</i>.</p>", "metadata": {"tags": "big|blue"}}
    with client_of(shop) as client:
        built = client.get("/documents/b").json()
        assert (built["title"], built["text"]) == ("Dogs & rivers", "The dog runs — by the river.")
        assert client.get("/documents/a").json()["metadata"] == {"tags": ["pet", "soft"]}
        assert client.put("/documents", json={"documents": [row | {"id": "s"}]}).status_code == 200
        written = client.get("/documents/s").json()
        assert (written["title"], written["text"]) == ("Ships & sea", "The ship\n\nat sea.")
        assert written["metadata"] == {"tags": ["big", "blue"]}
        hit = client.post("/search", json={"query": "ship", "mode": "lexical"}).json()["results"][0]
        assert (hit["id"], hit["text"]) == ("s", "The ship\n\nat sea.")
    compact(shop, cores=1)
    with client_of(shop) as client:
        folded = client.get("/documents/s").json()
        assert {name: folded[name] for name in ("title", "text", "metadata")} == {
            name: written[name] for name in ("title", "text", "metadata")
        }
        later = {"id": "t", "text": "<p>The <b>king</b></p>"}
        assert client.put("/documents", json={"documents": [later]}).status_code == 200
        assert client.get("/documents/t").json()["text"] == "The king"


def test_nothing_but_markup_is_refused(shop: Path) -> None:
    """A document that would have no words is named, and nothing is written."""
    with client_of(shop) as client:
        answer = client.put("/documents", json={"documents": [{"id": "s", "text": "<p><br></p>"}]})
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {"field": "body.documents.0.text", "message": "nothing but markup; give a text"}
        ]


def test_writes_for_an_index_without_treatment_are_treated_by_the_next(data: Path) -> None:
    """Where a corpus is built again with other settings, the live documents over it are treated alike, and only once."""
    pq.write_table(pa.table(ROWS), data / "shop.parquet")
    settings = BuildSettings(language="en", markup="keep")
    build(str(data / "shop.parquet"), settings, data)
    with client_of(data) as client:
        document = {"id": "s", "text": "<p>write &lt;b&gt; here</p>", "metadata": {"tags": "a;b"}}
        assert client.put("/documents", json={"documents": [document]}).status_code == 200
        assert client.get("/documents/s").json()["text"] == document["text"]
    build(str(data / "shop.parquet"), BuildSettings(language="en", list_columns="tags"), data)
    for _ in range(2):
        with client_of(data) as client:
            whole = client.get("/documents/s").json()
            assert (whole["text"], whole["metadata"]) == ("write <b> here", {"tags": ["a", "b"]})
        compact(data, cores=1)
