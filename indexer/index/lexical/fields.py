"""Fields of the lexical index: the schema of tantivy, its tokenizers, and the folder in an artifact."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import tantivy

from indexer.index.terms.analysis import Analysis
from indexer.index.terms.columns import COLUMN, COLUMN_WORDS, TITLE

FOLDER = "lexical"
TOKENIZERS = {"body": "dowse", "exact": "dowse-exact"}


def make_schema(others: Iterable[str]) -> tantivy.Schema:
    """Return the schema of an index with these fields besides those of the text."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("body", tokenizer_name=TOKENIZERS["body"], index_option="freq")
    builder.add_text_field("exact", tokenizer_name=TOKENIZERS["exact"], index_option="freq")
    builder.add_unsigned_field("document", indexed=True, fast=True)
    for name in others:  # after those that every index has: their numbers stay the same
        builder.add_text_field(name, tokenizer_name=TOKENIZERS["exact"], index_option="freq")
    return builder.build()


def other_fields(folder: Path) -> list[str]:
    """Return the fields that an index has besides those of the text; an older one has none."""
    schema = json.loads((folder / "meta.json").read_bytes())["schema"]
    names = [field["name"] for field in schema]
    return [name for name in names if name in (TITLE, COLUMN_WORDS) or name.startswith(COLUMN)]


def register(index: tantivy.Index, analysis: Analysis) -> None:
    """Give an index the tokenizers of an analysis."""
    for name, tokenizer in analysis.tokenizers().items():
        index.register_tokenizer(TOKENIZERS[name], tokenizer)
