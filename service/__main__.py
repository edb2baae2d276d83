"""Command line of the service: serve the live index, check the configuration, manage API keys.

python -m service                      http://127.0.0.1:8000, and /docs
python -m service --port 9000
python -m service check                problems that would keep it from starting
python -m service keys add NAME        a key; from then on requests need one
DOWSE_DATA=/srv/dowse python -m service --host 0.0.0.0
"""

from __future__ import annotations

import contextlib
import socket

import typer

from indexer.errors import run
from indexer.milvus.settings import require_client
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

    A newly published index goes live without a restart. Ctrl-C ends the service once open requests are answered.
    """
    if context.invoked_subcommand:
        return
    logs.configure(settings.log_format)
    if settings.store == "milvus":
        require_client()
    if warning := check_exposure(settings):
        say(f"warning: {warning}")
    if warning := tracing.configuration_warning():
        say(f"warning: {warning}")
    if settings.workers > 1:
        from service.server.supervisor import supervise

        reserved = reserve(settings.host, settings.port)
        supervise(settings, reserved, lambda: announce(settings.host, reserved, settings.workers))
        return
    from service.app import create_app
    from service.server.server import Server

    application = create_app(settings)
    listener = listen(settings.host, settings.port)
    announce(settings.host, listener)
    # On Ctrl-C uvicorn first shuts down and then raises the KeyboardInterrupt that it has caught.
    with contextlib.suppress(KeyboardInterrupt):
        Server(application, settings.drain_seconds).run(sockets=[listener])


@app.command()
@options(ServiceSettings)
def check(settings: ServiceSettings) -> None:
    """Check the configuration: report what would keep the service from starting or from serving well.

    It takes the service's flags. The exit status is 1 if there is a problem; warnings do not change it.
    """
    from service.check import run_checks

    findings = list(run_checks(settings))
    for finding in findings:
        typer.echo(f"{finding.level:8} {finding.text}")
    raise typer.Exit(int(any(finding.level == "problem" for finding in findings)))


def announce(host: str, listener: socket.socket, workers: int = 1) -> None:
    """Print the service's URL, and the number of workers if there are several."""
    address = f"[{host}]" if ":" in host else host
    processes = f"{workers} workers, " if workers > 1 else ""
    say(f"http://{address}:{listener.getsockname()[1]}  (API at /docs, {processes}Ctrl-C ends)")


if __name__ == "__main__":
    run(app)
