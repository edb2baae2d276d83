"""The commands of `python -m trainer`. Each imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

from typing import Annotated

import typer

from indexer.settings import options
from trainer.settings import BaseSettings

app = typer.Typer(
    help="Publish encoders as model artifacts in $DOWSE_DATA (default: ./data).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def main() -> None:
    """Publish encoders as model artifacts in $DOWSE_DATA (default: ./data)."""


@app.command()
@options(BaseSettings)
def base(
    model: Annotated[
        str | None,
        typer.Argument(help="Hub name or local directory of a sentence-transformers model (default: all-MiniLM-L6-v2)"),
    ] = None,
    *,
    settings: BaseSettings,
) -> None:
    """Publish an untouched model with its ONNX files and make it the live one. Prints its id.

    The ONNX encoder is compared with sentence-transformers on texts of the corpus; a model that differs is not
    published. With nothing to do it says so and exits.
    """
    from indexer.progress import say
    from trainer.base import publish_base

    published = publish_base(model, settings)
    if not published.fresh:
        say("up to date")
    typer.echo(published.manifest.id)
