"""Synthetic corpora in the tiny model's words, «tales», to train on in seconds, and labels for them."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from stories import WORDS

STOP_WORDS = WORDS[:15]
"""English stop words: the lexical leg does not see them, the tiny model does."""
BIG_WORDS = WORDS[15:]
SYLLABLES = ("ba", "du", "ke", "li", "mo", "na", "pe", "ri", "so", "tu", "va", "zi")


def _sentence(rng: random.Random, topic: list[str], others: list[str]) -> str:
    words = [rng.choice(topic) if rng.random() < 0.6 else rng.choice(others) for _ in range(rng.randint(5, 8))]
    words.insert(rng.randint(1, 3), rng.choice(STOP_WORDS))
    return f"The {' '.join(words)}."


def write_tales(path: Path, count: int, seed: int = 0) -> Path:
    """Write ``count`` tales of three to five sentences, each about six random words, and return the path."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        topic = rng.sample(BIG_WORDS, 6)
        texts.append(" ".join(_sentence(rng, topic, BIG_WORDS) for _ in range(rng.randint(3, 5))))
    pq.write_table(pa.table({"id": [f"t{number:03}" for number in range(count)], "text": texts}), path)
    return path


def write_named_tales(path: Path, count: int, seed: int = 0) -> Path:
    """Write tales that begin with three names each, which hardly any other tale has, and return the path."""
    rng = random.Random(seed)
    table = pq.read_table(write_tales(path, count, seed))
    names = ["".join(rng.choices(SYLLABLES, k=3)).capitalize() for _ in range(3 * count)]
    texts = [f"{' '.join(names[3 * row : 3 * row + 3])}. {text}" for row, text in enumerate(table["text"].to_pylist())]
    pq.write_table(pa.table({"id": table["id"], "text": texts}), path)
    return path


def write_labelled(folder: Path, count: int, seed: int = 0, *, shuffled: bool = False) -> Path:
    """Write tales with two queries each, and the labels; return the path of the corpus.

    The topic of a tale is four stop words, of which a query has three. Other words are noise, and those of a query are from
    another tale. So the lexical leg, which ignores stop words, does not find the right tale, and training can improve the
    dense leg. Beside the corpus are ``queries.parquet`` (with a column split: every second tale is in test) and
    ``qrels.parquet``.

    Args:
        folder: to which the files are written.
        count: number of tales.
        seed: of all random choices.
        shuffled: whether the labels name random tales.
    """
    rng = random.Random(seed)
    topics = [rng.sample(STOP_WORDS, 4) for _ in range(count)]
    ornaments = [rng.sample(BIG_WORDS[:20], 4) for _ in range(count)]
    texts, queries, qrels = [], [], []
    for number, (topic, ornament) in enumerate(zip(topics, ornaments, strict=True)):
        words = [word for _ in range(3) for word in rng.sample([*topic, *ornament], 8)]
        texts.append(f"{' '.join(words[:12])}. {' '.join(words[12:])}.".capitalize())
        split = "test" if number % 2 == 0 else "dev" if number % 8 == 1 else "train"
        for position in range(2):
            query = rng.sample(topic, 3) + rng.sample(ornaments[rng.randrange(count)], 3)
            queries.append({"id": f"q{number:03}-{position}", "text": " ".join(rng.sample(query, 6)), "split": split})
            qrels.append({"query_id": queries[-1]["id"], "doc_id": f"t{number:03}"})
    if shuffled:
        answers = rng.sample([row["doc_id"] for row in qrels], len(qrels))
        qrels = [row | {"doc_id": answer} for row, answer in zip(qrels, answers, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    ids = [f"t{number:03}" for number in range(count)]
    pq.write_table(pa.table({"id": ids, "text": texts}), folder / "corpus.parquet")
    pq.write_table(pa.Table.from_pylist(queries), folder / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(qrels), folder / "qrels.parquet")
    return folder / "corpus.parquet"
