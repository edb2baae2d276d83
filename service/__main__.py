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

from indexer.errors import UserError, run
from indexer.progress import say
from indexer.settings import options
from service import keys_cli, logs
from service.exposure import check_exposure
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
    import uvicorn

    from service.app import create_app
    from service.protocol import LimitedProtocol
    from service.server import Server

    logs.configure(settings.log_format)
    if warning := check_exposure(settings):
        say(f"warning: {warning}")
    application = create_app(settings)
    listener = listen(settings.host, settings.port)
    config = uvicorn.Config(
        application,
        http=LimitedProtocol,
        server_header=False,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=10,
    )
    address = f"[{settings.host}]" if ":" in settings.host else settings.host
    say(f"http://{address}:{listener.getsockname()[1]}  (API at /docs, Ctrl-C ends)")
    # On Ctrl-C uvicorn first shuts down and then raises what it has caught.
    with contextlib.suppress(KeyboardInterrupt):
        state = application.state
        Server(config, state.draining, state.closed, settings.drain_seconds).run(sockets=[listener])


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


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise `UserError` where the address is taken or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: {error.strerror or error}; choose another with --port"
        ) from error
    # Connections inherit this. asyncio does it by itself only for sockets that it has opened; without it every answer
    # on a kept connection waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


if __name__ == "__main__":
    run(app)
