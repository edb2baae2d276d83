"""Settings of reading a corpus: each field is defined once, for every command that has it.

A command inherits the smallest of these models that has all fields it uses: no command shows a flag without effect.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Markup = Literal["auto", "strip", "keep"]
"""What becomes of HTML in texts and titles."""


class TextSettings(BaseModel):
    """Which column holds the texts, whether they are HTML, and how many rows are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_column: str = Field(default="text", description="Column of the texts")
    markup: Markup = Field(
        default="auto",
        description="HTML in texts and titles: strip turns it into text, keep leaves it; auto turns it into text where a "
        "column has it, in one text of ten at least",
    )
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


class MetadataSettings(DocumentSettings):
    """Documents with metadata."""

    list_columns: str | None = Field(
        default=None,
        description="Columns of texts such as `oak, dining; outdoor` that become lists, with commas between their names: "
        "filters and facets have each value (default: none)",
    )


class CorpusSettings(MetadataSettings):
    """Documents, their metadata and their language."""

    language: str = Field(
        default="auto",
        description="Language of stemming and stop words: auto, none, or an ISO 639-1 code such as en, es or de",
    )


def select(settings: BaseModel, model: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of ``settings`` that ``model`` has too, as keyword arguments for another command."""
    return {name: getattr(settings, name) for name in model.model_fields if name in type(settings).model_fields}
