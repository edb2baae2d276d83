"""Commands of `python -m trainer classify`. Each imports its modules when it runs, which keeps `--help` instant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from indexer.options import options
from trainer.classify.settings import (
    ClassifyEvaluateSettings,
    ClassifyPredictSettings,
    ClassifyPublishSettings,
    ClassifyTrainSettings,
)

app = typer.Typer(help="Give texts labels: train, evaluate, predict, publish.", no_args_is_help=True)


@app.command()
@options(ClassifyTrainSettings)
def train(
    source: Annotated[Path, typer.Argument(help="Labelled texts: a Parquet, CSV or JSON lines file")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write (default: $DOWSE_DATA/training/classifier)")
    ] = None,
    settings: ClassifyTrainSettings,
) -> None:
    """Train a classifier, calibrate its probabilities, export and measure it. Prints the path of its directory.

    It trains all weights or, with --frozen-encoder, only a logistic head, in seconds. The weights with the best
    macro-F1 on dev are kept. The directory's report has metrics, confusion matrix and the surest mistakes on test.
    `publish` makes the classifier live. On several GPUs: `accelerate launch -m trainer classify train …`.
    """
    from trainer.classify.train import train as run
    from trainer.files import training_dir

    path = run(source, settings, out or training_dir() / "classifier")
    if os.environ.get("RANK", "0") == "0":  # of several processes only the first prints
        typer.echo(path)


@app.command()
@options(ClassifyEvaluateSettings)
def evaluate(
    source: Annotated[Path, typer.Argument(help="Labelled texts: a Parquet, CSV or JSON lines file")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the report (default: $DOWSE_DATA/training/classifier-report)")
    ] = None,
    settings: ClassifyEvaluateSettings,
) -> None:
    """Measure a classifier on labelled texts and write the report. Prints its directory.

    A file that it was trained on is split as in the training, and its test rows are classified.
    """
    from trainer.classify.predict import evaluate as run
    from trainer.files import training_dir

    out = out or training_dir() / "classifier-report"
    run(source, settings, out)
    typer.echo(out)


@app.command()
@options(ClassifyPredictSettings)
def predict(
    source: Annotated[str, typer.Argument(help="Texts: Parquet, CSV or JSON lines, a file, a folder or a quoted glob")],
    *,
    settings: ClassifyPredictSettings,
) -> None:
    """Write the label of every text, with its probability, to a file. Prints its path.

    With several labels per text, those that reach their thresholds are written, the most probable first.
    """
    from trainer.classify.predict import predict as run

    run(source, settings)
    typer.echo(settings.out)


@app.command()
def tokens(
    model: Annotated[str, typer.Argument(help="Token classifier: a directory of transformers, or a name on the Hub")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write (default: $DOWSE_DATA/training/token-classifier)")
    ] = None,
) -> None:
    """Export a token classifier for `indexer build --extract brand --token-model DIRECTORY`. Prints the directory.

    The graph's probabilities are compared with those of transformers before it is written.
    """
    from trainer.classify.tokens import export_tokens
    from trainer.files import training_dir

    out = out or training_dir() / "token-classifier"
    export_tokens(model, out)
    typer.echo(out)


@app.command()
@options(ClassifyPublishSettings)
def publish(
    directory: Annotated[
        Path | None,
        typer.Argument(help="Directory that `train` wrote (default: $DOWSE_DATA/training/classifier)"),
    ] = None,
    *,
    settings: ClassifyPublishSettings,
) -> None:
    """Publish a classifier for `POST /classify` and `indexer build --label-with`. Prints its id.

    Where the same classifier is published already, it says «up to date».
    """
    from indexer.progress import say
    from trainer.classify.publish import publish as run
    from trainer.files import training_dir

    published = run(directory or training_dir() / "classifier", settings)
    if not published.fresh:
        say("up to date")
    typer.echo(published.manifest.id)
