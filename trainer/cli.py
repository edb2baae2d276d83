"""The commands of `python -m trainer`. Each imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from indexer.options import options
from trainer.classify.cli import app as classify_app
from trainer.data.settings import PrepareSettings, SplitSettings
from trainer.finetune.settings import FinetuneSettings, TsdaeSettings
from trainer.mining.settings import FilterSettings, NegativesSettings
from trainer.models.settings import BaseSettings, EmbedSettings, FillMaskSettings, PublishMlmSettings, RerankerSettings
from trainer.pipeline.settings import EvaluateSettings, RunSettings
from trainer.pretrain.settings import PretrainSettings
from trainer.queries.settings import QueriesSettings

app = typer.Typer(
    help="Publish encoders as model artifacts in $DOWSE_DATA (default: ./data).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(classify_app, name="classify")


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
    from trainer.models.base import publish_base

    published = publish_base(model, settings)
    if not published.fresh:
        say("up to date")
    typer.echo(published.manifest.id)


@app.command()
@options(PrepareSettings)
def prepare(
    source: Annotated[
        str,
        typer.Option(
            help="Parquet, CSV or JSON lines: a file, a folder or a quoted glob; or the URL of a database, with --query"
        ),
    ],
    settings: PrepareSettings,
) -> None:
    """Turn documents into the training frame: id, document, title, text and room for five queries. Prints its path.

    Long texts become several rows, which keep the document's id. With nothing to do it says so and exits.
    """
    from indexer.progress import say
    from trainer.data.prepare import prepare as prepare_frame

    prepared = prepare_frame(source, settings)
    say(f"{prepared.rows:,} rows of {prepared.documents:,} documents" if prepared.fresh else "up to date")
    typer.echo(prepared.path)


@app.command()
@options(QueriesSettings)
def queries(
    frame: Annotated[
        Path | None, typer.Argument(help="The training frame, Parquet (default: $DOWSE_DATA/training/frame.parquet)")
    ] = None,
    *,
    out: Annotated[
        Path | None, typer.Option(help="The filled frame (default: queries.parquet beside the frame)")
    ] = None,
    settings: QueriesSettings,
) -> None:
    """Write up to five queries for each row of the frame, by a language model or taken from the texts. Prints a path.

    Answers are journalled row by row, so that a second start goes on where the first one ended. A summary that
    accounts for every row is written beside the frame.
    """
    from trainer.files import training_dir
    from trainer.queries.generate import generate

    frame = frame or training_dir() / "frame.parquet"
    out = out or frame.with_name("queries.parquet")
    generate(frame, settings, out)
    typer.echo(out)


@app.command()
@options(PretrainSettings)
def pretrain(
    corpus: Annotated[
        str,
        typer.Argument(
            help="Parquet, CSV or JSON lines: a file, a folder or a quoted glob; or the URL of a database, with --query"
        ),
    ],
    *,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Model to go on from: a directory of transformers or sentence-transformers, or a name on the Hub "
            "(default: a new one)",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write (default: $DOWSE_DATA/training/bert)")] = None,
    settings: PretrainSettings,
) -> None:
    """Pre-train a BERT on the texts of CORPUS: masked words and next sentence, with a tokenizer of its own. Prints a path.

    What is written is a directory of the Hub's format, the start of `tsdae`, `finetune` and `base`. On several GPUs:
    `accelerate launch -m trainer pretrain …`.
    """
    from trainer.files import training_dir
    from trainer.pretrain.pretrain import pretrain as train

    _print_path(train(corpus, settings, out or training_dir() / "bert", start))


@app.command()
@options(TsdaeSettings)
def tsdae(
    *,
    source: Annotated[str, typer.Option(help="Corpus: a Parquet, CSV or JSON lines file, a folder or a glob of them")],
    out: Annotated[Path | None, typer.Option(help="Directory to write (default: $DOWSE_DATA/training/tsdae)")] = None,
    settings: TsdaeSettings,
) -> None:
    """Pre-train an encoder on the texts alone: rebuild each text from the vector of a damaged copy. Prints a path.

    What is written is a sentence-transformers directory: the start of `finetune`, or of `base`. Pre-train before
    supervised training, not after it.
    """
    from trainer.files import training_dir
    from trainer.finetune.tsdae import tsdae as train

    _print_path(train(source, settings, out or training_dir() / "tsdae").path)


@app.command()
@options(FinetuneSettings)
def finetune(
    examples: Annotated[list[Path], typer.Argument(help="Training examples: Parquet or CSV files")],
    *,
    dev: Annotated[
        list[Path] | None, typer.Option(help="Examples that decide which weights are kept; may be given again")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write (default: $DOWSE_DATA/training/tuned)")] = None,
    settings: FinetuneSettings,
) -> None:
    """Fine-tune an encoder on pairs, triplets, scored or labelled sentences. Prints a path.

    What is written is a sentence-transformers directory, which `base` publishes. On several GPUs:
    `accelerate launch -m trainer finetune …`.
    """
    from trainer.files import training_dir
    from trainer.finetune.finetune import finetune as train

    _print_path(train(examples, settings, out or training_dir() / "tuned", dev).path)


@app.command()
@options(SplitSettings)
def split(
    *,
    source: Annotated[
        str,
        typer.Option(
            help="Corpus: a Parquet, CSV or JSON lines file, a folder or a glob of them, or the URL of a database"
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: $DOWSE_DATA/training/split.parquet)")
    ] = None,
    settings: SplitSettings,
) -> None:
    """Decide which documents are trained on and which are only asked about. Prints a path.

    Near-duplicates go to one side. A document stays where it is when the corpus grows. Freeze the split before any
    query is written.
    """
    from trainer.data.split import split_source
    from trainer.files import training_dir

    out = out or training_dir() / "split.parquet"
    split_source(source, settings).write(out)
    typer.echo(out)


@app.command("filter")
@options(FilterSettings)
def filter_queries(
    pairs: Annotated[
        Path | None,
        typer.Argument(help="A frame with queries, or pairs, Parquet (default: $DOWSE_DATA/training/queries.parquet)"),
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="File to write (default: pairs.parquet beside the queries)")] = None,
    settings: FilterSettings,
) -> None:
    """Keep the queries whose document the fused retriever finds among its best. Prints a path.

    What is written are pairs of query and document, with the document's rank; how many stay is said for each kind.
    """
    from trainer.files import training_dir
    from trainer.mining.roundtrip import filter_file

    pairs = pairs or training_dir() / "queries.parquet"
    out = out or pairs.with_name("pairs.parquet")
    filter_file(pairs, settings, out)
    typer.echo(out)


@app.command()
@options(NegativesSettings)
def negatives(
    pairs: Annotated[
        Path | None,
        typer.Argument(help="Pairs of query and document, Parquet (default: $DOWSE_DATA/training/pairs.parquet)"),
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="File to write (default: examples.parquet beside the pairs)")] = None,
    settings: NegativesSettings,
) -> None:
    """Find texts that are nearly the answer to each query, and what a teacher says of them. Prints a path.

    What is written are training examples for `finetune`. How often the teacher puts a query's own document first is
    compared with the dense leg: a teacher that is no better has nothing to teach.
    """
    from trainer.files import training_dir
    from trainer.mining.negatives import mine_file

    pairs = pairs or training_dir() / "pairs.parquet"
    out = out or pairs.with_name("examples.parquet")
    mine_file(pairs, settings, out)
    typer.echo(out)


@app.command()
@options(EmbedSettings)
def embed(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts (default: --file, else the lines on stdin)")] = None,
    *,
    side: Annotated[
        Literal["query", "document"], typer.Option("--as", help="Whose prompt the model is given, where it has prompts")
    ] = "document",
    settings: EmbedSettings,
) -> None:
    """Write the vectors of texts to a file. Prints its path, or with --similar each text and those nearest to it."""
    from trainer.models.embed import embed as write
    from trainer.models.embed import read_texts

    found, total = read_texts(settings, texts or [])
    write(found, settings, side, total, show=typer.echo)
    if not settings.similar:
        typer.echo(settings.out)


def _print_path(path: Path) -> None:
    if os.environ.get("RANK", "0") == "0":  # of several processes the first speaks
        typer.echo(path)


@app.command()
@options(RunSettings)
def run(
    corpus: Annotated[
        str,
        typer.Argument(
            help="Parquet, CSV or JSON lines: a file, a folder or a quoted glob; or the URL of a database, with --query"
        ),
    ],
    settings: RunSettings,
) -> None:
    """Tune the encoder on CORPUS, measure it, and make it live if it is better. Prints verdict and id.

    Learns from the texts alone, and from labels where there are any. Held-out questions are answered by the model as it
    was and as it is now, through the code that serves; only a WIN goes live. With nothing to do it says so and exits;
    killed and started again, it continues.
    """
    from indexer.progress import say
    from trainer.pipeline.run import run as run_all

    outcome = run_all(corpus, settings)
    if not outcome.fresh:
        say("up to date")
    typer.echo(f"{outcome.verdict} {outcome.manifest.id}")


@app.command()
@options(EvaluateSettings)
def evaluate(
    corpus: Annotated[
        str,
        typer.Argument(
            help="Parquet, CSV or JSON lines: a file, a folder or a quoted glob; or the URL of a database, with --query"
        ),
    ],
    settings: EvaluateSettings,
) -> None:
    """Measure a published model against another one and against BM25. Prints the verdict and the report's directory.

    Queries with labels are asked where there are any, else questions about held-out documents, through the code that
    serves. Nothing is learned, and nothing goes live.
    """
    from indexer.progress import say
    from trainer.pipeline.compare_models import evaluate as measure

    report, out = measure(corpus, settings)
    for reason in report.reasons:
        say(reason)
    typer.echo(f"{report.verdict} {out}")


@app.command("publish-mlm")
@options(PublishMlmSettings)
def publish_mlm(
    directory: Annotated[
        Path, typer.Argument(help="Directory of a masked-language model, such as `trainer pretrain` writes")
    ],
    *,
    settings: PublishMlmSettings,
) -> None:
    """Publish a masked-language model for `fill-mask` and for the page /model, and make it the live one. Prints its id.

    Its graph, with contextual vectors and attentions, is compared with torch; one that differs is not published. With
    nothing to do it says so and exits.
    """
    from indexer.progress import say
    from trainer.models.masked_lm import publish_mlm as publish

    published = publish(directory, settings)
    if not published.fresh:
        say("up to date")
    typer.echo(published.manifest.id)


@app.command("fill-mask")
@options(FillMaskSettings)
def fill_mask(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts with one [MASK] or several (default: the lines on stdin)")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per text")] = False,
    settings: FillMaskSettings,
) -> None:
    """Show the words that a masked-language model expects behind [MASK], with their probabilities.

    The model is the published one, or with --model any directory. Several masks are filled independently of one
    another.
    """
    import sys

    from trainer.models.fill_mask import fill_mask as fill

    lines = (line.strip() for line in sys.stdin)
    fill(texts or (line for line in lines if line), settings, as_json=as_json, show=typer.echo)


@app.command()
@options(RerankerSettings)
def reranker(
    model: Annotated[str, typer.Argument(help="Cross-encoder: a local directory, or a name on the Hub")],
    *,
    settings: RerankerSettings,
) -> None:
    """Publish a cross-encoder for the `rerank` of a search, and make it the live one. Prints its id.

    Its graph is compared with torch on pairs of many lengths; one that scores differently is not published. With nothing
    to do it says so and exits.
    """
    from indexer.progress import say
    from trainer.models.reranker import publish_reranker

    published = publish_reranker(model, settings)
    if not published.fresh:
        say("up to date")
    typer.echo(published.manifest.id)
