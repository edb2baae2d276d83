"""`python -m service keys`: commands that create, list and revoke API keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.errors import UserError
from indexer.progress import say
from service.settings import ServiceSettings

if TYPE_CHECKING:
    from indexer.filters.filter import Filter

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

File = Annotated[
    Path | None,
    typer.Option("--keys", envvar="DOWSE_KEYS", help="File of the keys (default: keys.json in the data directory)"),
]
Data = Annotated[Path, typer.Option(envvar="DOWSE_DATA", help="Data directory of the service")]


def _parse_filter(text: str | None) -> Filter | None:
    from pydantic import ValidationError

    from indexer.filters.filter import Filter

    try:
        return None if text is None else Filter.model_validate_json(text)
    except ValidationError as error:
        message = error.errors(include_input=False)[0]["msg"]
        raise UserError(f"--filter: {message}; the service's /docs describes filters at POST /search") from error


def _key_file(keys: Path | None, data: Path) -> Path:
    return ServiceSettings(data=data, keys=keys).key_file


@app.command()
def add(  # noqa: PLR0917 - typer calls it by name
    name: Annotated[str, typer.Argument(help="Who or what it is for: letters, digits, dot, dash, underscore")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Scope of the key: search, write or admin; may be given several times (default: search)"),
    ] = None,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(min=1, help="Rate limit of this key (default: --requests-per-minute of the service)"),
    ] = None,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", help="Documents that the key can see, as a filter in JSON (default: all)"),
    ] = None,
    keys: File = None,
    data: Data = Path("data"),
) -> None:
    """Create a key and print it: it is shown only once. A running service accepts it within a second."""
    from service.security.keys import add_key
    from service.security.permissions import SCOPES

    requested = set(scope or ["search"])
    if unknown := requested - set(SCOPES):
        raise UserError(f"--scope {min(unknown)}: there are {', '.join(SCOPES)}")
    scopes = tuple(known for known in SCOPES if known in requested)
    path = _key_file(keys, data)
    typer.echo(add_key(path, name, scopes, requests_per_minute, _parse_filter(filter_)))
    say(f"{name}: {', '.join(scopes)}; in {path}, which holds only its hash: keep the key, it is not shown again")


@app.command("list")
def list_keys(keys: File = None, data: Data = Path("data")) -> None:
    """List the keys: id (the public part of the key), name, time of creation, scopes, rate limit, filter."""
    from service.security.keys import read_keys

    for key in read_keys(_key_file(keys, data)).keys:
        limit = f"  {key.requests_per_minute:,} requests/min" if key.requests_per_minute else ""
        key_filter = f"  {key.filter.model_dump_json(by_alias=True, exclude_defaults=True)}" if key.filter else ""
        typer.echo(f"dowse_{key.id}_…  {key.name}  {key.created}  {','.join(key.scopes)}{limit}{key_filter}")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name or id of the key")], keys: File = None, data: Data = Path("data")
) -> None:
    """Revoke a key: a running service refuses it within a second. After the last one, every request is refused."""
    from service.security.keys import revoke_key

    path = _key_file(keys, data)
    revoke_key(path, name)
    say(f"{name}: revoked")
