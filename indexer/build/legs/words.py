"""What a build says of words and values: searched and exact columns are checked, files of rules are copied."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from indexer.build.settings import BuildSettings
from indexer.corpus.columns import parse_names
from indexer.errors import UserError
from indexer.index.terms.rules import RULE_FILES, read_rules
from indexer.inference.passages import encoded_columns


def check_words(settings: BuildSettings, schema: pa.Schema) -> None:
    """Refuse columns that documents of a ``schema`` do not have, and files of rules that cannot be read.

    Raises:
        UserError: it names the flag, or the file and its line.
    """
    _check_columns("--search-columns", settings.weights_of_columns, schema)
    _check_columns("--exact-columns", parse_names(settings.exact_columns, "--exact-columns"), schema)
    _check_columns("--encode-columns", encoded_columns(settings.model_dump()), schema, numbers=False)
    read_rules(settings.synonyms, settings.stop_words)


def copy_rules(folder: Path, settings: BuildSettings) -> None:
    """Copy the files of synonyms and stop words into an index."""
    for name, path in settings.rule_files().items():
        shutil.copyfile(path, folder / RULE_FILES[name])


def _check_columns(flag: str, names: Iterable[str], schema: pa.Schema, *, numbers: bool = True) -> None:
    fields = list(schema.field("metadata").type) if "metadata" in schema.names else []
    usable = [field.name for field in fields if _has_words(field.type, numbers=numbers)]
    for name in names:
        if name not in usable:
            raise UserError(
                f"{flag}: no column {name!r} of texts{', numbers' * numbers} or lists of them; there is: "
                f"{', '.join(sorted(usable)) or 'none'}"
            )


def _has_words(kind: pa.DataType, *, numbers: bool) -> bool:
    """Say whether values of a type are texts, or ``numbers``, or lists of them."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_dictionary(kind):
        return _has_words(kind.value_type, numbers=numbers)
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(texts or (numbers and (pa.types.is_integer(kind) or pa.types.is_floating(kind))))
