"""A corpus of any size for `bench/million.py`, made of the indexes of a data directory: texts, metadata and vectors.

A document has a title and two to eight sentences, of one real passage and of the passages nearest to it, each on a line of
its own. Its vector is a mixture of the vectors of just these passages and of noise as among real ones (see `scale.py`). So
words and vectors of a document tell of the same things, and a text has the same vector whenever it is encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from text_like import NEIGHBOURS, NOISE, TextLike

from indexer.artifacts.store import Store
from indexer.build.weights.inverse_cloze import split_sentences
from indexer.index.dense import unit
from indexer.index.index import Index
from indexer.inference.encoder import Encoder, Vectors

ROWS_PER_GROUP = 50_000
CHARACTERS = range(20, 400)
"""Length of a sentence that is taken."""
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("category", pa.string()),
        ("source", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("bucket", pa.int32()),
        ("year", pa.int64()),
        ("views", pa.int64()),
        ("price", pa.float64()),
        ("rating", pa.float32()),
        ("published", pa.date32()),
        ("updated", pa.timestamp("ms")),
        ("open", pa.bool_()),
    ]
)
EPOCH = date(1990, 1, 1)


@dataclass
class Source:
    """Real passages: their vectors, shape (passages, dimension), the sentences of each, and where each sentence is."""

    like: TextLike
    sentences: list[list[str]]
    passage_of: dict[str, int]

    @classmethod
    def of(cls, data: Path, cache: Path) -> Source:
        """Read the passages of all indexes in ``data``, which are of one model; their neighbours are kept in ``cache``."""
        vectors: list[Vectors] = []
        sentences: list[list[str]] = []
        passage_of: dict[str, int] = {}
        store = Store("index", data)
        for name in store.ids():
            index = Index.open(store.path(name), verify=False)
            kept = []
            for passage, row in enumerate(index.document_of.tolist()):
                text = index.document(row).text[slice(*index.passage_offsets(passage))]
                lines = [" ".join(text[start:end].split()) for start, end in split_sentences(text)]
                lines = [line for line in lines if len(line) in CHARACTERS and line not in passage_of]
                if lines:
                    passage_of |= dict.fromkeys(lines, len(sentences))
                    sentences.append(lines)
                    kept.append(passage)
            vectors.append(index.dense.vectors(np.array(kept, dtype=np.int64)))
        real = np.concatenate(vectors)
        if not cache.is_file():
            like = TextLike.of(real)
            np.savez(cache, neighbours=like.neighbours, noise=like.noise)
        kept_file = np.load(cache)
        like = TextLike(real, kept_file["neighbours"], kept_file["noise"], np.random.default_rng(0))
        return cls(like, sentences, passage_of)

    def encode(self, encoder: Encoder, texts: Sequence[str], *, exactly: bool = False) -> Vectors:  # noqa: ARG002
        """Return a vector of each text, which depends on the text alone; in the place of `Encoder.encode_documents`."""
        real, vectors = self.like.real, []
        for text in texts:
            rng = np.random.default_rng(np.frombuffer(hashlib.blake2b(text.encode(), digest_size=16).digest(), "<u4"))
            rows = [self.passage_of[line] for line in text.split("\n") if line in self.passage_of]
            rows = rows or [int(rng.integers(len(real)))]
            weights = rng.dirichlet(np.ones(len(rows))).astype(np.float32)
            noise = self.like.noise[rng.integers(len(real))] * (NOISE if rng.random() < 0.5 else -NOISE)
            vectors.append(weights @ real[rows] + noise)
        return unit(np.array(vectors, dtype=np.float32))

    def texts(self, count: int, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
        """Yield titles and texts."""
        first = rng.integers(len(self.sentences), size=count)
        lengths = rng.integers(2, 9, size=count)
        for passage, length in zip(first.tolist(), lengths.tolist(), strict=True):
            near = [passage, *self.like.neighbours[passage, rng.integers(NEIGHBOURS, size=2)].tolist()]
            lines = []
            for draw in rng.random((length, 2)).tolist():
                own = self.sentences[near[int(draw[0] * len(near))]]
                lines.append(own[int(draw[1] * len(own))])
            title = " ".join(self.sentences[passage][0].split()[:8])
            yield title, "\n".join(dict.fromkeys(lines))


def write_corpus(path: Path, source: Source, rows: int, changed: float = 0.0) -> None:
    """Write documents; a share of them has other texts with ``changed``, evenly spread, the rest are the same."""
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for number, first in enumerate(range(0, rows, ROWS_PER_GROUP)):
            count = min(ROWS_PER_GROUP, rows - first)
            texts = list(source.texts(count, np.random.default_rng([1, number])))
            if changed:
                other = np.random.default_rng([2, number])
                places = np.flatnonzero(other.random(count) < changed).tolist()
                for place, text in zip(places, source.texts(len(places), other), strict=True):
                    texts[place] = text
            table = pa.table(_columns(first, texts, np.random.default_rng([3, number])), schema=SCHEMA)
            writer.write_table(table)


def _columns(first: int, texts: list[tuple[str, str]], rng: np.random.Generator) -> list[pa.Array]:
    count = len(texts)
    numbers = np.arange(first, first + count)
    tags = np.minimum(rng.zipf(1.4, (count, 4)) - 1, 199)
    lengths = rng.integers(0, 5, count)
    days = rng.integers(0, 365 * 35, count)
    views = rng.lognormal(6, 2, count).astype(np.int64)
    rating = rng.normal(3.5, 0.8, count).clip(0, 5).round(1)
    rated = rng.random(count) < 0.8
    return [
        pa.array([f"document-{number}" for number in numbers.tolist()]),
        pa.array([title for title, _ in texts]),
        pa.array([text for _, text in texts]),
        pa.array([f"category {value}" for value in np.minimum(rng.zipf(1.3, count) - 1, 11).tolist()]),
        pa.array([f"source {value}" for value in np.minimum(rng.zipf(1.2, count) - 1, 49_999).tolist()]),
        pa.array(
            [
                [f"tag {tag}" for tag in row[:length]]
                for row, length in zip(tags.tolist(), lengths.tolist(), strict=True)
            ],
            pa.list_(pa.string()),
        ),
        pa.array(rng.integers(0, 100, count), pa.int32()),
        pa.array(1990 + days // 365),
        pa.array(views),
        pa.array(rng.lognormal(4, 1, count).round(2)),
        pa.array([value if known else None for value, known in zip(rating.tolist(), rated, strict=True)], pa.float32()),
        pa.array([EPOCH + timedelta(days=int(day)) for day in days]),
        pa.array(
            [datetime(2020, 1, 1) + timedelta(seconds=int(second)) for second in rng.integers(0, 1 << 28, count)],  # noqa: DTZ001
            pa.timestamp("ms"),
        ),
        pa.array(rng.random(count) < 0.6),
    ]
