"""Benchmark of filled cells: empties cells whose value is known, fills them by `--extract`, and compares.

    python bench/attributes.py CORPUS --columns brand,colour [--title name] [--text description] [--share .3]

Prints precision and recall of the cells that were emptied, and what the program says of itself.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from indexer.build.metadata.fill import fill_attributes
from indexer.build.metadata.settings import ExtractSettings
from indexer.corpus.corpus import Corpus
from indexer.progress import say


def main() -> None:
    """Measure the columns named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="a file with some values in these columns")
    parser.add_argument("--columns", required=True, help="names, separated by commas")
    parser.add_argument("--title", default=None, help="column of the titles")
    parser.add_argument("--text", default="text", help="column of the texts")
    parser.add_argument("--share", type=float, default=0.3, help="of the values that are taken out")
    parser.add_argument("--seed", type=int, default=1, help="which values are taken out")
    parser.add_argument("--min-precision", type=float, default=0.95, help="as of `indexer build`")
    parser.add_argument("--token-model", type=Path, default=None, help="as of `indexer build`")
    parser.add_argument("--llm", default=None, help="as of `indexer build`")
    parser.add_argument("--llm-model", default=None, help="as of `indexer build`")
    parser.add_argument("--limit", type=int, default=None, help="rows that are read")
    options = parser.parse_args()
    columns = options.columns.split(",")
    settings = ExtractSettings(
        extract=options.columns,
        min_precision=options.min_precision,
        token_model=options.token_model,
        llm=options.llm,
        llm_model=options.llm_model,
        llm_wait=120,
        llm_timeout=600,
    )
    corpus = Corpus.check(options.corpus, title_column=options.title, text_column=options.text, limit=options.limit)
    table = pa.Table.from_batches(list(corpus.batches()))
    rows, draw = table.to_pylist(), random.Random(options.seed)  # noqa: S311 - chooses cells
    removed: dict[str, dict[int, str]] = {name: {} for name in columns}
    for number, row in enumerate(rows):
        for name in columns:
            if row["metadata"][name] and draw.random() < options.share:
                removed[name][number], row["metadata"][name] = row["metadata"][name], None
    with tempfile.TemporaryDirectory() as folder:
        flat = [{"id": row["id"], "title": row["title"], "text": row["text"], **row["metadata"]} for row in rows]
        pq.write_table(pa.Table.from_pylist(flat), Path(folder) / "corpus.parquet")
        emptied = Corpus.check(str(Path(folder) / "corpus.parquet"))
        filled = fill_attributes(emptied, settings)
        cells = [row for batch in filled.batches() for row in batch.column("metadata").to_pylist()]
    for name in columns:
        given = {row: cells[row][name] for row in removed[name] if cells[row][name]}
        right = sum(value == removed[name][row] for row, value in given.items())
        precision, recall = right / max(len(given), 1), right / max(len(removed[name]), 1)
        say(f"{name}: precision {precision:.3f}, recall {recall:.3f} of {len(removed[name]):,} cells that were emptied")


if __name__ == "__main__":
    main()
