"""Command line of the trainer. Each command imports its modules when it runs, which keeps `--help` fast."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from indexer.options import options
from trainer.classify.cli import app as classify_app
from trainer.data.settings import PrepareSettings, SplitSettings
from trainer.finetune.settings import FinetuneSettings, TsdaeSettings
from trainer.mining.settings import FilterSettings, NegativesSettings
from trainer.models.settings import BaseSettings, EmbedSettings, FillMaskSettings, PublishMlmSettings, SparseSettings
from trainer.pipeline.settings import (
    BridgeSettings,
    CompareSettings,
    EvaluateSettings,
    JudgedRerankerSettings,
    RunSettings,
)
from trainer.pretrain.settings import PretrainSettings
from trainer.queries.settings import QueriesSettings

app = typer.Typer(
    help="Train, evaluate and publish models in $DOWSE_DATA (default: ./data).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(classify_app, name="classify")


@app.callback()
def main() -> None:
    """Train, evaluate and publish models in $DOWSE_DATA (default: ./data)."""


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
    """Publish a model without training, with its ONNX files, and make it the live one. Prints its id.

    The ONNX encoder is compared with sentence-transformers on texts of the corpus; a model that differs is not
    published. A model that is published already is «up to date».
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
    """Turn documents into the training frame: id, document, title, text and columns for five queries. Prints its path.

    Long texts become several rows with the document's id. An existing frame of the same inputs is «up to date».
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
    """Write up to five queries per row of the frame, by a language model or extracted from the texts. Prints a path.

    Answers are journalled row by row: a second start continues where the first one ended. A summary that accounts for
    every row is written beside the frame.
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
            help="Model to continue from: a directory of transformers or sentence-transformers, or a name on the Hub "
            "(default: a new one)",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write (default: $DOWSE_DATA/training/bert)")] = None,
    settings: PretrainSettings,
) -> None:
    """Pre-train a BERT on the texts of CORPUS: masked words and next sentence, with a tokenizer of its own. Prints a path.

    The result is a directory in the Hub's format, an input of `tsdae`, `finetune` and `base`. On several GPUs:
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
    """Pre-train an encoder on texts alone by TSDAE: reconstruct each text from the vector of a noisy copy. Prints a path.

    The result is a sentence-transformers directory, an input of `finetune` or `base`. Pre-train before supervised
    training, not after it.
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
        list[Path] | None, typer.Option(help="Examples by which the best weights are kept; may be given again")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write (default: $DOWSE_DATA/training/tuned)")] = None,
    settings: FinetuneSettings,
) -> None:
    """Fine-tune an encoder on pairs, triplets, scored or labelled sentences. Prints a path.

    The result is a sentence-transformers directory, which `base` publishes. On several GPUs:
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
    """Split the documents into train, dev and test. Prints a path.

    Near-duplicates go to one side. A document keeps its side when the corpus grows. Freeze the split before any query
    is written.
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
    """Keep the queries whose document is among the best of the fused ranking. Prints a path.

    The results are pairs of query and document, with the document's rank. Messages tell how many of each kind are kept.
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
    """Mine hard negatives for each query, with the scores of a teacher. Prints a path.

    The results are training examples for `finetune`. Messages compare how often teacher and dense leg rank the query's
    own document first: distillation from a teacher that is no better gains little.
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
        Literal["query", "document"], typer.Option("--as", help="Which prompt of the model to use, if it has prompts")
    ] = "document",
    settings: EmbedSettings,
) -> None:
    """Write the vectors of texts to a file. Prints its path, or with --similar each text with the nearest others."""
    from trainer.models.embed import embed as write
    from trainer.models.embed import read_texts

    inputs, total = read_texts(settings, texts or [])
    write(inputs, settings, side, total, show=typer.echo)
    if not settings.similar:
        typer.echo(settings.out)


def _print_path(path: Path) -> None:
    """Print a path once, also when several processes train."""
    if os.environ.get("RANK", "0") == "0":  # of several processes only the first prints
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
    """Tune the encoder on CORPUS, evaluate it, and make it live if it is better. Prints verdict and id.

    Trains on the texts, and on labels if there are any. Base and tuned model are compared on held-out queries, by the
    code that serves; only a WIN goes live. A finished run of the same inputs is «up to date»; a killed one resumes.
    On several GPUs: `accelerate launch -m trainer run …`.
    """
    from indexer.progress import say
    from trainer.pipeline.run import run as run_all

    with _leading() as leads:
        if not leads:
            return
        outcome = run_all(corpus, settings)
    if not outcome.fresh:
        say("up to date")
    typer.echo(f"{outcome.verdict} {outcome.manifest.id}")


def _leading() -> AbstractContextManager[bool]:
    """Say whether this process leads; of several, the others take part in its trainings first."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return nullcontext(enter_result=True)
    from trainer.finetune.together import leading  # loads torch, which an up-to-date run does not need

    return leading()


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
    """Compare a published model with another one and with BM25. Prints the verdict and the report's directory.

    The queries are those of the labels, if there are any, else synthetic ones about held-out documents. They are ranked
    by the code that serves. Nothing is trained, and nothing goes live.
    """
    from indexer.progress import say
    from trainer.pipeline.compare_models import evaluate as measure

    report, out = measure(corpus, settings)
    for reason in report.reasons:
        say(reason)
    typer.echo(f"{report.verdict} {out}")


@app.command()
@options(CompareSettings)
def compare(
    models: Annotated[
        list[str],
        typer.Argument(help="Models: names on the Hub, local directories, or ids of published models; two or more"),
    ],
    *,
    source: Annotated[
        str,
        typer.Option(
            help="Corpus: Parquet, CSV or JSON lines: a file, a folder or a quoted glob; or the URL of a database, with --query"
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON in place of the table")] = False,
    settings: CompareSettings,
) -> None:
    """Find which of several models is the best base for a corpus, and make it the live one. Prints a table.

    Every model encodes a sample of the corpus. It is judged by questions that are made from the texts, or by labels if
    there are any, and ranked by the code that serves. Where the questions cannot tell, the live model, or else the first
    one, is kept. A finished comparison of the same inputs is «up to date»; a killed one resumes.
    """
    from trainer.pipeline.bases.compare import compare_and_choose

    result, lines = compare_and_choose(source, models, settings)
    for line in [result.model_dump_json(indent=2)] if as_json else lines:
        typer.echo(line)


@app.command()
@options(BridgeSettings)
def bridge(
    model: Annotated[
        str, typer.Argument(help="The new model: a name on the Hub, a directory, or a published model's id")
    ],
    *,
    settings: BridgeSettings,
) -> None:
    """Try a new model's queries on the vectors of the live index. Prints what questions say, and an index that is not live.

    A map from the new model's query vectors to the index's vectors is learned on texts that both encode. Old and new
    queries are compared by the code that serves. A model and an index are published whose queries are the new ones; no
    document is encoded. `python -m indexer activate` makes that index live, while the new model's own is being built.
    """
    from indexer.progress import say
    from trainer.pipeline.bases.bridge.bridge import bridge as make

    made = make(model, settings)
    if not made.fresh:
        say("up to date")
    for line in made.lines:
        typer.echo(line)
    say(f"to search by these queries: python -m indexer activate {made.index.id}")
    typer.echo(made.index.id)


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

    Its ONNX graph, with contextual vectors and attentions, is compared with torch; one that differs is not published. A
    model that is published already is «up to date».
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
    """Show the words that a masked-language model predicts for [MASK], with their probabilities.

    The model is the published one, or with --model any directory. Several masks are filled independently.
    """
    import sys

    from trainer.models.fill_mask import fill_mask as fill

    lines = (line.strip() for line in sys.stdin)
    fill(texts or (line for line in lines if line), settings, as_json=as_json, show=typer.echo)


@app.command()
@options(JudgedRerankerSettings)
def reranker(
    model: Annotated[str, typer.Argument(help="Cross-encoder: a local directory, or a name on the Hub")],
    *,
    settings: JudgedRerankerSettings,
) -> None:
    """Publish a cross-encoder for the `rerank` of a search, and make it the live one. Prints its id.

    Its ONNX graph is compared with torch on pairs of many lengths; one with other scores is not published. With --judge,
    hybrid search is compared with and without re-ranking: after a WIN, searches are re-ranked that do not ask for it. A
    model that is published already is «up to date».
    """
    from indexer.progress import say

    if settings.judge:
        from trainer.pipeline.rerank.judge import publish_judged

        published = publish_judged(model, settings)
    else:
        from trainer.models.reranker import publish_reranker

        published = publish_reranker(model, settings)
    if not published.fresh:
        say("up to date")
    typer.echo(published.manifest.id)


@app.command()
@options(SparseSettings)
def sparse(
    model: Annotated[
        str,
        typer.Argument(help="Learned-sparse model of sentence-transformers: a local directory, or a name on the Hub"),
    ],
    *,
    settings: SparseSettings,
) -> None:
    """Publish a learned-sparse model for `indexer build --sparse-model`, and make it the live one. Prints its id.

    Documents go through its ONNX graph, queries through a table of weights. A model that needs a network for queries
    too is refused, and so is one whose graph or table gives other weights than torch.
    """
    from indexer.progress import say
    from trainer.models.sparse import publish_sparse

    published = publish_sparse(model, settings)
    if not published.fresh:
        say("up to date")
    typer.echo(published.manifest.id)
