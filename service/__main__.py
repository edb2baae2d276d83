"""Serve the live index.

python -m service                      http://127.0.0.1:8000, and /docs
python -m service --port 9000
python -m service check                what would keep it from starting
python -m service keys add NAME        a key; from then on requests need one
DOWSE_DATA=/srv/dowse python -m service --host 0.0.0.0
"""

from __future__ import annotations

import contextlib
import socket

import typer

from indexer.errors import run
from indexer.options import options
from indexer.progress import say
from service.observability import logs, tracing
from service.security import keys_cli
from service.security.exposure import check_exposure
from service.server.listener import listen, reserve
from service.settings import ServiceSettings

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
app.add_typer(keys_cli.app, name="keys")


@app.callback(invoke_without_command=True)
@options(ServiceSettings)
def serve(context: typer.Context, settings: ServiceSettings) -> None:
    """Serve the live index of the data directory: a JSON API, its documentation at /docs, and a page at /.

    A newly published index is taken up while the service runs. Ctrl-C ends it once open requests are answered.
    """
    if context.invoked_subcommand:
        return
    logs.configure(settings.log_format)
    if warning := check_exposure(settings):
        say(f"warning: {warning}")
    if warning := tracing.configuration_warning():
        say(f"warning: {warning}")
    if settings.workers > 1:
        from service.server.supervisor import supervise

        reserved = reserve(settings.host, settings.port)
        supervise(settings, reserved, lambda: announce(settings.host, reserved, f"{settings.workers} workers, "))
        return
    from service.app import create_app
    from service.server.server import Server

    application = create_app(settings)
    listener = listen(settings.host, settings.port)
    announce(settings.host, listener)
    # On Ctrl-C uvicorn first shuts down and then raises what it has caught.
    with contextlib.suppress(KeyboardInterrupt):
        Server(application, settings.drain_seconds).run(sockets=[listener])


@app.command()
@options(ServiceSettings)
def check(settings: ServiceSettings) -> None:
    """Say what would keep the service from starting or from serving well; it takes the service's flags.

    It ends with status 1 if there is a problem. Warnings are to be thought about, and no problem.
    """
    from service.check import findings

    found = list(findings(settings))
    for finding in found:
        typer.echo(f"{finding.level:8} {finding.text}")
    raise typer.Exit(int(any(finding.level == "problem" for finding in found)))


def announce(host: str, listener: socket.socket, who: str = "") -> None:
    """Say where the service listens, and, in between, ``who`` answers."""
    address = f"[{host}]" if ":" in host else host
    say(f"http://{address}:{listener.getsockname()[1]}  (API at /docs, {who}Ctrl-C ends)")


if __name__ == "__main__":
    run(app)
