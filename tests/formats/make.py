"""Archive of a data directory in the current format: every kind of artifact, live writes, and the service's answers.

    PYTHONPATH=.:tests python tests/formats/make.py

Run once for each number of `FORMAT`, by the version that raises it: `tests/test_formats.py` checks that later versions
read it and answer alike.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from labelled import example, publish_classifier
from safetensors.numpy import load_file, save_file
from starlette.testclient import TestClient
from stories import write_corpus
from tests_support import make_tiny_model
from tiny_bert import make_tiny_bert
from tiny_reranker import make_tiny_reranker

from indexer.artifacts.manifest import FORMAT
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.progress import say
from service.app import create_app
from service.settings import ServiceSettings
from trainer.models.base import publish_base
from trainer.models.masked_lm import publish_mlm
from trainer.models.reranker import publish_reranker
from trainer.models.settings import BaseSettings, PublishMlmSettings, RerankerSettings

HERE = Path(__file__).parent
WRITES = [
    ("PUT", "/documents", {"documents": [{"id": "s", "title": "Storm", "text": "The sailor in the storm."}]}),
    ("PUT", "/documents", {"documents": [{"id": "a", "text": "The horse sleeps."}, {"id": "gone", "text": "Rain."}]}),
    ("DELETE", "/documents?id=gone&id=b", None),
    ("POST", "/feedback", {"query": "queen", "document": "d", "grade": 3}),
]
QUERY = "the queen eats bread"
QUERIES = [
    *(("POST", "/search", {"query": QUERY, "mode": mode, "explain": True}) for mode in ("dense", "lexical", "hybrid")),
    ("POST", "/search", {"query": QUERY, "rerank": {"top_n": 5, "budget_ms": 60_000}}),
    ("GET", "/documents/a", None),
    ("GET", "/documents/b", None),
    ("GET", "/documents/d", None),
    ("GET", "/documents/d/similar", None),
    ("GET", "/info", None),
    ("POST", "/classify", {"texts": [example("food"), example("animal")]}),
    ("POST", "/fill-mask", {"text": "the capital of france is [MASK]."}),
]


def round_weights(model: Path) -> Path:
    """Round a model's weights to three bits of precision: random weights cannot be compressed."""
    file = model / "model.safetensors"
    tensors = load_file(file)
    for name, tensor in tensors.items():
        if tensor.dtype == np.float32:
            mantissa, exponent = np.frexp(tensor)
            tensors[name] = np.ldexp(np.round(mantissa * 8) / 8, exponent).astype(np.float32)
    save_file(tensors, file, metadata={"format": "pt"})
    return model


def make_data(folder: Path, data: Path) -> None:
    """Publish one artifact of each kind in ``data``, and write to the service."""
    tiny = round_weights(make_tiny_model(folder / "tiny"))
    corpus = write_corpus(data / "corpus.parquet")
    publish_base(str(tiny), BaseSettings(corpus=str(corpus)), data)
    build(str(corpus), BuildSettings(language="en"), data)
    publish_mlm(round_weights(make_tiny_bert(folder / "bert")), PublishMlmSettings(), data)
    publish_reranker(
        str(round_weights(make_tiny_reranker(tiny, folder / "cross"))), RerankerSettings(max_tokens=48), data
    )
    publish_classifier(data, folder / "classifier")
    send(data, WRITES)


def send(data: Path, requests: list[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """Send the requests to the service; return each with the status and the body of its answer."""
    with TestClient(create_app(ServiceSettings(data=data, writable=True, deadline_seconds=600))) as client:
        answers = [client.request(method, path, json=body) for method, path, body in requests]
    return [
        {"request": list(request), "status": answer.status_code, "body": answer.json()}
        for request, answer in zip(requests, answers, strict=True)
    ]


def main() -> None:
    """Write ``format-<number>.tar.xz``."""
    with TemporaryDirectory() as name:
        folder, data = Path(name), Path(name) / "data"
        data.mkdir()
        make_data(folder, data)
        answers = send(data, QUERIES)
        (data / "answers.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False), encoding="utf-8")
        archive = HERE / f"format-{FORMAT}.tar.xz"
        with tarfile.open(archive, "w:xz", preset=9) as tar:
            tar.add(data, "data")
    say(f"{archive}: {archive.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
