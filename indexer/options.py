"""Command-line options of a settings model: each field becomes a flag with its type, default and help text.

Indexer, trainer and service use it for their commands. The models themselves are in the `settings.py` of each folder.
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
        parameters = [parameter for name, parameter in signature.parameters.items() if name != "settings"]

        def run(**values: Any) -> None:
            fields = {name: values.pop(name) for name in settings.model_fields}
            for name, field in settings.model_fields.items():
                if (
                    field.default is None and fields[name] == ""
                ):  # a variable that is unset in docker-compose.yml or a script
                    del fields[name]
            try:
                validated = settings.model_validate(fields)
            except ValidationError as error:
                raise UserError(f"{_describe(error)}; see --help") from error
            command(**values, settings=validated)

        run.__doc__ = command.__doc__
        run.__name__ = command.__name__
        run.__signature__ = inspect.Signature([*parameters, *map(_parameter, settings.model_fields.items())])  # type: ignore[attr-defined]
        run.__annotations__ = {name: parameter.annotation for name, parameter in run.__signature__.parameters.items()}  # type: ignore[attr-defined]
        return run

    return decorate


def _describe(error: ValidationError) -> str:
    """Return flag, value and reason of the first fault; flags that do not go together are named by the reason itself."""
    first = error.errors()[0]
    if first["loc"]:
        return f"{_flag(str(first['loc'][0]))} {first['input']}: {first['msg']}"
    return first["msg"].removeprefix("Value error, ")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parameter(field: tuple[str, Any]) -> inspect.Parameter:
    name, info = field
    is_switch = info.annotation is bool
    # With its name given, a switch gets no `--no-…` flag; it is off by default and needs none.
    option = typer.Option(
        _flag(name),
        help=info.description,
        show_default=info.default is not None and not is_switch,
        envvar=(info.json_schema_extra or {}).get("env"),
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=info.default, annotation=Annotated[info.annotation, option]
    )
