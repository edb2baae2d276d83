"""`python -m service keys`: the commands that make, list and revoke API keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.errors import UserError
from indexer.progress import say
from service.settings import ServiceSettings

if TYPE_CHECKING:
    from indexer.filters.filter import Filter

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

File = Annotated[
    Path | None,
    typer.Option("--keys", envvar="DOWSE_KEYS", help="File of the keys (default: keys.json in the data directory)"),
]
Data = Annotated[Path, typer.Option(envvar="DOWSE_DATA", help="Data directory of the service")]


def _filter(text: str | None) -> Filter | None:
    from pydantic import ValidationError

    from indexer.filters.filter import Filter

    try:
        return None if text is None else Filter.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            f"--filter: {error.errors(include_input=False)[0]['msg']}; see Filters in the README"
        ) from error


def _file(keys: Path | None, data: Path) -> Path:
    return ServiceSettings(data=data, keys=keys).key_file


@app.command()
def add(  # noqa: PLR0917 - typer calls it by name
    name: Annotated[str, typer.Argument(help="Who or what it is for: letters, digits, dot, dash, underscore")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may do: search, write or admin; may be given several times (default: search)"),
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Its own rate limit (default: the service's)")
    ] = None,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", help="The documents that there are for it, as a filter in JSON (default: all)"),
    ] = None,
    keys: File = None,
    data: Data = Path("data"),
) -> None:
    """Make a key and print it: it is shown this once. A running service takes it within a second."""
    from service.security.keys import add_key
    from service.security.permissions import SCOPES

    wanted = tuple(dict.fromkeys(scope or ["search"]))
    chosen = tuple(known for known in SCOPES if known in wanted)
    if unknown := set(wanted) - set(SCOPES):
        raise UserError(f"--scope {min(unknown)}: there are {', '.join(SCOPES)}")
    path = _file(keys, data)
    typer.echo(add_key(path, name, chosen, requests_per_minute, _filter(filter_)))
    say(f"{name}: {', '.join(chosen)}; in {path}, which holds its hash only: keep the key, it is not shown again")


@app.command("list")
def list_keys(keys: File = None, data: Data = Path("data")) -> None:
    """List the keys: id (the part of a key that is no secret), name, when it was made, scopes, limit."""
    from service.security.keys import read_keys

    for key in read_keys(_file(keys, data)).keys:
        limit = f"  {key.requests_per_minute:,} requests/min" if key.requests_per_minute else ""
        only = f"  {key.filter.model_dump_json(by_alias=True, exclude_defaults=True)}" if key.filter else ""
        typer.echo(f"dowse_{key.id}_…  {key.name}  {key.created}  {','.join(key.scopes)}{limit}{only}")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name or id of the key")], keys: File = None, data: Data = Path("data")
) -> None:
    """Revoke a key: a running service refuses it within a second. Where it was the last one, nobody is let in."""
    from service.security.keys import revoke_key

    path = _file(keys, data)
    revoke_key(path, name)
    say(f"{name}: revoked")
