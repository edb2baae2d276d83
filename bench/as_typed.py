"""Benchmark of typing: recall of titles with a typing error, and what the search of a half-typed word costs.

    python bench/as_typed.py recall --data DATA [--index ID] [--titles 200]
    python bench/as_typed.py prefix --data DATA [--index ID] [--titles 200]

`recall` searches the titles of an index's documents with one random edit in one word of at least four letters, with and
without correction, and counts how often the document is among the first 10. `prefix` cuts the last word of each title to a
half, searches it with and without `prefix` in turn, and prints median and 95th percentile of the
milliseconds of processor time, which depend less on other load of the machine.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from indexer.artifacts.store import Store
from indexer.index.index import Index
from indexer.retrieval.retriever import Mode, Retriever

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MIN_LETTERS = 4
WORDS_OF_A_QUERY = 3
SEED = 7


def with_edit(word: str, draw: random.Random) -> str:
    """Return a word with one letter left out, added, exchanged, or swapped with the next one."""
    place, kind = draw.randrange(len(word) - 1), draw.randrange(4)
    before, letter, after = word[:place], word[place], word[place + 1 :]
    changed = [
        before + after,
        before + draw.choice(LETTERS) + letter + after,
        before + draw.choice(LETTERS) + after,
        before + after[0] + letter + after[1:],
    ][kind]
    return changed if changed != word else with_edit(word, draw)


def choose_titles(index: Index, count: int) -> list[tuple[int, str]]:
    """Return row and title of documents that have a title with a word long enough, drawn at random."""
    rows = [*range(index.rows)]
    random.Random(SEED).shuffle(rows)  # noqa: S311 - seeded
    found = []
    for row in rows:
        title = index.document(row).title or ""
        if any(len(word) >= MIN_LETTERS and word.isalpha() for word in title.split()):
            found.append((row, title))
        if len(found) == count:
            break
    return found


def recall(index: Index, count: int) -> None:
    """Print how often a title with a typing error finds its document."""
    retriever, draw = Retriever(index), random.Random(SEED)  # noqa: S311 - seeded
    queries = []
    for row, title in choose_titles(index, count):
        words = title.split()
        places = [place for place, word in enumerate(words) if len(word) >= MIN_LETTERS and word.isalpha()]
        place = draw.choice(places)
        words[place] = with_edit(words[place], draw)
        queries.append((row, title, " ".join(words)))
    print("| mode | as written | typos off | typos on |\n|---|--:|--:|--:|")
    modes: tuple[Mode, ...] = ("hybrid", "lexical", "dense")
    for mode in modes:
        found = [0, 0, 0]
        for row, title, query in queries:
            searches = [(title, False), (query, False), (query, True)]
            for place, (text, typos) in enumerate(searches):
                ranking = retriever.search(text, mode, expanded=retriever.expand(text, typos=typos))
                found[place] += row in ranking.rows[:10]
        print(f"| {mode} | " + " | ".join(f"{each / len(queries):.1%}" for each in found) + " |")


def measure_prefix(index: Index, count: int) -> None:
    """Print the time of searches with and without the prefix, each query in both ways one after the other."""
    retriever = Retriever(index)
    queries = []
    for _, title in choose_titles(index, count):
        words = [word for word in title.split() if word.isalpha()][-WORDS_OF_A_QUERY:]
        words[-1:] = [word[: max(MIN_LETTERS, len(word) // 2)] for word in words[-1:]]
        queries.append(" ".join(words))
    modes: tuple[Mode, ...] = ("hybrid", "lexical")
    print(f"{len(index):,} documents\n\n| mode | ms without, median / p95 | with | ratio of p95 |\n|---|--:|--:|--:|")
    for mode in modes:
        took: dict[bool, list[float]] = {False: [], True: []}
        for number, query in enumerate(queries):
            for prefix, own in sorted(took.items(), reverse=bool(number % 2)):  # the second one finds warm caches
                started = time.process_time()
                expanded = retriever.expand(query, prefix=prefix, typos=True)
                retriever.search(query, mode, expanded=expanded)
                own.append((time.process_time() - started) * 1e3)
        tails = [float(np.percentile(took[prefix], 95)) for prefix in took]
        medians = [float(np.median(took[prefix])) for prefix in took]
        shown = [f"{median:.1f} / {tail:.1f}" for median, tail in zip(medians, tails, strict=True)]
        print(f"| {mode} | {shown[0]} | {shown[1]} | {tails[1] / tails[0]:.2f} |")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("recall", "prefix"))
    parser.add_argument("--data", type=Path, required=True, help="data directory")
    parser.add_argument("--index", help="id of an index (default: the live one)")
    parser.add_argument("--titles", type=int, default=200)
    arguments = parser.parse_args()
    index = Index.open(Store("index", arguments.data).resolve(arguments.index))
    (recall if arguments.what == "recall" else measure_prefix)(index, arguments.titles)


if __name__ == "__main__":
    main()
