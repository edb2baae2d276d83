"""Tales told in the tiny model's words: a corpus of some hundred documents to train on in seconds, and labels about it."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from stories import WORDS

STOP_WORDS = WORDS[:15]
"""English stop words: the lexical leg does not see them, the tiny model does."""
BIG_WORDS = WORDS[15:]


def _sentence(chance: random.Random, topic: list[str], others: list[str]) -> str:
    told = [
        chance.choice(topic) if chance.random() < 0.6 else chance.choice(others) for _ in range(chance.randint(5, 8))
    ]
    told.insert(chance.randint(1, 3), chance.choice(STOP_WORDS))
    return f"The {' '.join(told)}."


def write_tales(path: Path, count: int, seed: int = 0) -> Path:
    """Write ``count`` tales of three to five sentences, each about six words of its own, and return the path."""
    chance = random.Random(seed)
    texts = []
    for _ in range(count):
        topic = chance.sample(BIG_WORDS, 6)
        texts.append(" ".join(_sentence(chance, topic, BIG_WORDS) for _ in range(chance.randint(3, 5))))
    pq.write_table(pa.table({"id": [f"t{number:03}" for number in range(count)], "text": texts}), path)
    return path


def write_labelled(folder: Path, count: int, seed: int = 0, *, shuffled: bool = False) -> Path:
    """Write tales with two queries each, and the labels; return the path of the corpus.

    What a tale is about are four of its stop words, of which a query has three; the big words are an ornament, and a
    query's are taken from another tale. So only meaning finds the right tale, and training can find out what counts.
    Beside the corpus are ``queries.parquet`` (with a column split: every second tale is asked for in the test) and
    ``qrels.parquet``.

    Args:
        folder: where to.
        count: how many tales.
        seed: of the chance.
        shuffled: whether the labels name tales by chance.
    """
    chance = random.Random(seed)
    topics = [chance.sample(STOP_WORDS, 4) for _ in range(count)]
    ornaments = [chance.sample(BIG_WORDS[:20], 4) for _ in range(count)]
    texts, queries, qrels = [], [], []
    for number, (topic, ornament) in enumerate(zip(topics, ornaments, strict=True)):
        told = [word for _ in range(3) for word in chance.sample([*topic, *ornament], 8)]
        texts.append(f"{' '.join(told[:12])}. {' '.join(told[12:])}.".capitalize())
        split = "test" if number % 2 == 0 else "dev" if number % 8 == 1 else "train"
        for place in range(2):
            asked = chance.sample(topic, 3) + chance.sample(ornaments[chance.randrange(count)], 3)
            queries.append({"id": f"q{number:03}-{place}", "text": " ".join(chance.sample(asked, 6)), "split": split})
            qrels.append({"query_id": queries[-1]["id"], "doc_id": f"t{number:03}"})
    if shuffled:
        answers = chance.sample([row["doc_id"] for row in qrels], len(qrels))
        qrels = [row | {"doc_id": answer} for row, answer in zip(qrels, answers, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    ids = [f"t{number:03}" for number in range(count)]
    pq.write_table(pa.table({"id": ids, "text": texts}), folder / "corpus.parquet")
    pq.write_table(pa.Table.from_pylist(queries), folder / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(qrels), folder / "qrels.parquet")
    return folder / "corpus.parquet"
