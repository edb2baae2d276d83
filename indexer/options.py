"""The settings of `python -m indexer build`: the only place where a name, a default and a help text stand.

`options` turns such a model into command-line options; trainer and service use it for theirs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from indexer.errors import UserError

Settings = TypeVar("Settings", bound=BaseModel)


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
