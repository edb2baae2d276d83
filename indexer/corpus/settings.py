"""Settings of reading a corpus: each field is defined once, for every command that has it.

A command inherits the smallest of these models that has all fields it uses: no command shows a flag without effect.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class TextSettings(BaseModel):
    """Which column holds the texts, and how many rows are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_column: str = Field(default="text", description="Column of the texts")
    limit: int | None = Field(default=None, ge=1, description="Read only the first N rows")


class SourceSettings(TextSettings):
    """Texts of files or of a database."""

    query: str | None = Field(
        default=None,
        description="SQL statement whose rows are the documents, where the corpus is the URL of a database",
    )


class RowSettings(SourceSettings):
    """Rows with ids, and what happens to bad rows."""

    id_column: str | None = Field(
        default=None, description="Column of the document ids (default: id, or the row number where there is none)"
    )
    skip_bad_rows: bool = Field(
        default=False,
        description="Leave bad rows out instead of refusing the corpus; an index and a frame list them with their reasons",
    )


class DocumentSettings(RowSettings):
    """Documents: rows with titles."""

    title_column: str | None = Field(
        default=None,
        description="Column of the titles, searched together with the text; `none` for no title (default: title)",
    )


class CorpusSettings(DocumentSettings):
    """Documents, their titles and their language."""

    language: str = Field(
        default="auto",
        description="Language of stemming and stop words: auto, none, or an ISO 639-1 code such as en, es or de",
    )


def select(settings: BaseModel, model: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of ``settings`` that ``model`` has too, as keyword arguments for another command."""
    return {name: getattr(settings, name) for name in model.model_fields if name in type(settings).model_fields}
