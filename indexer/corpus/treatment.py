"""Treatment of documents before they are used: markup of titles and texts becomes text, texts with several values lists.

An index keeps it in its manifest, so that documents that are written while it is served are treated in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from indexer.corpus.chunks import Types, make_batch, make_struct
from indexer.corpus.settings import Markup
from indexer.corpus.values.lists import list_type, split_list, to_lists
from indexer.corpus.values.markup import LEAST_SHARE, share_with_markup, to_text
from indexer.errors import UserError

FIELDS = ("title", "text")
"""Fields of a document that may hold markup."""


@dataclass(frozen=True)
class Treatment:
    """What is changed in each document.

    Attributes:
        markup: those of `FIELDS` that hold HTML, which is turned into text.
        lists: metadata columns whose texts become lists.
    """

    markup: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Treatment:
        """Return the treatment of an index by the configuration in its manifest; earlier versions had none."""
        return cls(tuple(config.get("html", ())), tuple(config.get("lists", ())))

    def config(self) -> dict[str, list[str]]:
        """Return what an index keeps of it; nothing where documents are left as they are."""
        return {name: list(value) for name, value in (("html", self.markup), ("lists", self.lists)) if value}

    def text(self, field: str, text: str | None) -> str | None:
        """Return the title or the text of a document, as ``field`` says."""
        return to_text(text) if text is not None and field in self.markup else text

    def metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return metadata as JSON has it, with lists in place of texts."""
        changed = {name: split_list(metadata[name]) for name in self.lists if isinstance(metadata.get(name), str)}
        return metadata | changed if changed else metadata

    def types(self, types: Types) -> Types:
        """Return the types of metadata columns.

        Raises:
            UserError: a column that becomes lists is missing, or holds no texts.
        """
        for name in self.lists:
            if name not in types:
                known = ", ".join(map(repr, types)) or "there are none"
                raise UserError(f"--list-columns: no metadata column {name!r} among {known}; correct the name")
        return types | {name: list_type(name, types[name]) for name in self.lists}

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return documents with the columns id, title, text and perhaps metadata."""
        if not (self.markup or self.lists):
            return batch
        arrays = list(batch.columns)
        for position, field in enumerate(FIELDS, 1):
            if field in self.markup:
                texts = arrays[position].to_pylist()
                arrays[position] = pa.array([self.text(field, text) for text in texts], pa.string())
        if self.lists and "metadata" in batch.schema.names:
            metadata = arrays[3]
            columns = {member.name: metadata.field(number) for number, member in enumerate(metadata.type)}
            arrays[3] = make_struct(columns | {name: to_lists(columns[name]) for name in self.lists})
        return make_batch(arrays)


def find_markup(markup: Markup, titles: Iterable[str | None], texts: Iterable[str | None]) -> tuple[str, ...]:
    """Return which of `FIELDS` hold HTML, by a sample of documents.

    Args:
        markup: ``strip`` for both, ``keep`` for none, ``auto`` for those that have tags or entities often enough. Where texts
            have, a single title that has is enough.
        titles: of the sample.
        texts: of the sample.
    """
    if markup != "auto":
        return FIELDS if markup == "strip" else ()
    in_texts = share_with_markup(texts) >= LEAST_SHARE
    in_titles = share_with_markup(titles)
    found = (in_titles >= LEAST_SHARE or (in_texts and in_titles > 0), in_texts)
    return tuple(field for field, has in zip(FIELDS, found, strict=True) if has)
