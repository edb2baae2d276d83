"""An answer does not depend on who else asks: under load, in a batch and alone it is the same, to the last digit."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

CLIENTS = 16
WORDS = ["the", "red", "fox", "river", "storm", "winter", "garden", "village", "captain", "clock", "wine", "reads"]
VARIES = {"took_ms", "timings", "request_id"}


def make_sentence(words, seed):
    """A few words in an order of its own for each seed."""
    return " ".join(random.Random(seed).choices(WORDS, k=words))


QUERIES = [make_sentence(1 + seed % 17, seed) for seed in range(40)]
SEARCHES = [{"query": query, "mode": mode, "explain": True} for query in QUERIES for mode in ("hybrid", "dense")]


def post(service, path, body):
    """The decoded answer, as far as it lasts."""
    answer = httpx2.post(service.url + path, json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return lasting(answer.json())


def lasting(answer):
    """An answer without what differs from one request to the next."""
    return {name: value for name, value in answer.items() if name not in VARIES}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_sixteen_clients_get_what_one_gets(tmp_path: Path, minilm_data: Path, publish, start_service, precision):
    """Queries of many lengths, first one by one, then by many at once and in batches, with a cache too small for them."""
    data = tmp_path / "data"
    shutil.copytree(minilm_data, data, ignore=shutil.ignore_patterns("indexes"))
    texts = [make_sentence(8 + seed % 30, 1000 + seed) for seed in range(150)]
    publish({"text": texts}, data, precision=precision)
    service = start_service(data, "--query-cache-mb", "0", "--queue", "64")
    alone = [post(service, "/search", search) for search in SEARCHES]
    with ThreadPoolExecutor(CLIENTS) as clients:
        crowded = list(clients.map(lambda search: post(service, "/search", search), SEARCHES * 2))
    assert crowded == alone * 2
    for first in range(0, len(SEARCHES), 32):
        batch = post(service, "/search/batch", {"searches": SEARCHES[first : first + 32]})["responses"]
        assert [lasting(each) for each in batch] == alone[first : first + 32]
    encoded = service.get("/metrics")[1].decode()
    together = float(encoded.split('dowse_batch_size_bucket{le="1.0"} ')[1].split()[0])
    calls = float(encoded.split("dowse_batch_size_count ")[1].split()[0])
    assert (calls > together) == (precision == "fp32")  # the load did bring batches about, where they are exact
