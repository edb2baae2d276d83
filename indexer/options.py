"""The settings of `python -m indexer build`: the only place where a name, a default and a help text stand.

`options` turns such a model into command-line options; trainer and service use it for theirs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from indexer.errors import UserError

Settings = TypeVar("Settings", bound=BaseModel)


class BuildSettings(BaseModel):
    """What is indexed, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str | None = Field(
        default=None, description="SQL statement whose rows are the documents, where CORPUS is the URL of a database"
    )
    id_column: str | None = Field(
        default=None, description="Column of the document ids (default: id, or the row number where there is none)"
    )
    text_column: str = Field(default="text", description="Column of the texts")
    title_column: str | None = Field(
        default=None,
        description="Column of the titles, searched together with the text; `none` for no title (default: title)",
    )
    limit: int | None = Field(default=None, ge=1, description="Read only the first N rows")
    skip_bad_rows: bool = Field(
        default=False, description="Leave bad rows out and list them in rejects.jsonl instead of refusing the corpus"
    )
    model: str | None = Field(default=None, description="Id of the model artifact (default: models/CURRENT)")
    precision: Literal["fp32", "int8"] = Field(
        default="fp32", description="Weights of the encoder: exact, or 8-bit integers (faster)"
    )
    language: str = Field(
        default="auto",
        description="Language of stemming and stop words: auto, none, or an ISO 639-1 code such as en, es or de",
    )
    passages: Literal["split", "one"] = Field(
        default="split",
        description="Split long texts into passages, or make one vector of the beginning of each document",
    )
    overlap_tokens: int = Field(default=32, ge=0, description="Tokens that neighbouring passages share, at most")
    dense: Literal["flat"] = Field(default="flat", description="Kind of the dense index: flat searches exactly")
    fusion: Literal["convex", "rrf"] = Field(
        default="convex", description="How hybrid search combines the legs: by score or by rank"
    )
    dense_weight: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Weight of the dense leg in hybrid search; the lexical leg has the rest "
        "(default: as the model was tuned with, else found from sentences taken out of their documents)",
    )
    candidates: int = Field(default=200, ge=1, le=10_000, description="Documents of each leg that hybrid search fuses")
    label_with: str | None = Field(
        default=None,
        description="Classifier that reads the text of every document: `current`, the id of a published one, or a "
        "directory. Its answers become metadata (default: no labels)",
    )
    label_column: str = Field(
        default="label",
        min_length=1,
        description="Column that --label-with fills; the probabilities go into the column of this name and `_probability`",
    )
    force: bool = Field(default=False, description="Build even if an index of the same inputs and settings is there")


def options(settings: type[Settings]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a typer command one option for each field of ``settings``.

    The command's last parameter, ``settings``, receives the validated model. An empty text counts as not given where
    the default is None.

    Raises:
        UserError: a value is refused; the message names the flag.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name != "settings"]

        def run(**values: Any) -> None:
            chosen = {name: values.pop(name) for name in settings.model_fields}
            for name, field in settings.model_fields.items():
                if field.default is None and chosen[name] == "":  # what docker-compose.yml and scripts did not find set
                    del chosen[name]
            try:
                validated = settings.model_validate(chosen)
            except ValidationError as error:
                first = error.errors()[0]
                raise UserError(
                    f"{_flag(str(first['loc'][0]))} {first['input']}: {first['msg']}; see --help"
                ) from error
            command(**values, settings=validated)

        run.__doc__ = command.__doc__
        run.__name__ = command.__name__
        run.__signature__ = inspect.Signature([*own, *map(_parameter, settings.model_fields.items())])  # type: ignore[attr-defined]
        run.__annotations__ = {name: parameter.annotation for name, parameter in run.__signature__.parameters.items()}  # type: ignore[attr-defined]
        return run

    return decorate


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parameter(field: tuple[str, Any]) -> inspect.Parameter:
    name, info = field
    switch = info.annotation is bool
    # A switch that is off by default needs no `--no-…` twin.
    option = typer.Option(
        _flag(name),
        help=info.description,
        show_default=info.default is not None and not switch,
        envvar=(info.json_schema_extra or {}).get("env"),
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=info.default, annotation=Annotated[info.annotation, option]
    )
