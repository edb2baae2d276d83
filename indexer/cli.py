"""Commands of `python -m indexer`. Each imports what it needs when it runs, to keep `--help` instant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from indexer.build.settings import BuildSettings, CreateSettings
from indexer.corpus.settings import CorpusSettings
from indexer.milvus.settings import StoreSettings, require_client
from indexer.options import options

app = typer.Typer(
    help="Build a search index from a corpus and manage the artifacts in $DOWSE_DATA (default: ./data).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Kind = Annotated[
    Literal["index", "model", "masked", "classifier", "reranker", "sparse"],
    typer.Option("--kind", help="Kind of artifact"),
]


@app.command()
def sample(out: Annotated[Path, typer.Option(help="File to write")] = Path("data/corpus.parquet")) -> None:
    """Write the sample corpus: the documentation of Python's standard library, about 4,200 documents."""
    from indexer.corpus.sample import write_sample
    from indexer.progress import say

    say(f"{out}: {write_sample(out):,} documents")


@app.command()
def inspect(
    corpus: Annotated[
        str, typer.Argument(help="A file, a folder or a quoted glob; or the URL of a database, with --query")
    ],
    query: Annotated[str | None, typer.Option("--query", help="SQL statement whose rows are the documents")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Read only the first N rows")] = None,
) -> None:
    """Show the columns of CORPUS, what each would be used for, and the commands that take them so.

    Nothing is written.
    """
    from indexer.corpus.inspect import inspect as inspect_corpus
    from indexer.progress import say

    found = inspect_corpus(corpus, query, limit)
    typer.echo("\n".join(found.table()))
    for remark in found.remarks():
        say(remark)
    commands = (("trainer run", CorpusSettings), ("indexer build", BuildSettings))
    typer.echo("\n" + "\n".join(found.command(name, settings.model_fields) for name, settings in commands))


@app.command()
@options(CreateSettings)
def create(settings: CreateSettings) -> None:
    """Make an empty index, for a service that is started with --writable to fill. Prints its id.

    Its documents come by PUT /documents and POST /documents/import. `compact` makes a whole index of them, and `export` a
    file that the trainer reads.
    """
    from indexer.build.create import create as create_index
    from indexer.progress import say

    result = create_index(settings)
    if not result.fresh:
        say("up to date")
    typer.echo(result.manifest.id)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Parquet file to write")],
    index: Annotated[str | None, typer.Option(help="Id of an index (default: indexes/CURRENT)")] = None,
) -> None:
    """Write the documents of an index to OUT, with the live writes over it: a corpus for the trainer, or for a build."""
    from indexer.live.export import export as export_documents
    from indexer.progress import say

    say(f"{out}: {export_documents(out, index):,} documents")


@app.command()
@options(BuildSettings)
def build(
    corpus: Annotated[
        str,
        typer.Argument(
            help="Parquet, CSV or JSON lines: a file, a folder or a quoted glob; or the URL of a database, with --query"
        ),
    ],
    settings: BuildSettings,
) -> None:
    """Build an index of CORPUS with the live model and make it the live one. Prints its id.

    Columns other than id, text and title are kept as metadata with their types. Passages that were embedded before are
    not embedded again. Where the index is up to date, nothing is built. With --store milvus the live index is copied there
    as well, and the alias is switched to it.
    """
    from indexer.build.build import build as build_index
    from indexer.progress import say

    if settings.store == "milvus":
        require_client()
    result = build_index(corpus, settings)
    if not result.fresh:
        say("up to date")
    _publish_live(settings)
    typer.echo(result.manifest.id)


def _publish_live(settings: StoreSettings) -> None:
    """Make the live index of the data directory that of the store, too."""
    if settings.store == "milvus":
        from indexer.artifacts.store import Store, data_dir
        from indexer.build.legs.dense_codes import recall_queries
        from indexer.milvus.publish import publish_index

        live = Store("index").resolve().name
        publish_index(live, settings, queries=lambda index: recall_queries(index, data_dir()))


@app.command()
def compact() -> None:
    """Fold live writes into a new index and make it the live one. Prints its id.

    Only texts without a vector are encoded. Writes that come meanwhile stay in the log and apply to the new index.
    """
    from indexer.build.compact import compact as fold
    from indexer.progress import say

    result = fold()
    if not result.fresh:
        say("nothing was written since")
    typer.echo(result.manifest.id)


@app.command()
def forget(
    before: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Documents last written before this time, such as 2026-11-21T02:00:00Z"),
    ] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Id of a document; may be repeated")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All documents that were written to the service")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many documents it would be")] = False,
) -> None:
    """Drop live writes: searches show the index's own version of these documents again.

    Takes exactly one of --before, --id and --all. A running service follows within a second.
    """
    from indexer.live.forget import forget as retract
    from indexer.live.forget import parse_time
    from indexer.progress import say

    result = retract(
        before=None if before is None else parse_time(before),
        ids=ids or (),
        everything=everything,
        dry_run=dry_run,
    )
    typer.echo(
        f"{'would forget' if dry_run else 'forgotten'}: puts of {result.puts:,} documents, deletes of {result.deletes:,}"
    )
    if result.folded:
        say(
            f"{result.folded:,} of them are part of the live index, which was compacted, and stay there until an index "
            "built from the corpus goes live: run `python -m indexer build CORPUS`"
        )


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="Query")],
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=100, help="Number of results")] = 10,
    mode: Annotated[
        Literal["hybrid", "dense", "lexical"], typer.Option(help="Both legs, or only the dense or the lexical one")
    ] = "hybrid",
    index: Annotated[str | None, typer.Option(help="Id of an index (default: indexes/CURRENT)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per result")] = False,
) -> None:
    """Search an index without the service."""
    from indexer.artifacts.store import Store
    from indexer.index.index import Index
    from indexer.retrieval.retriever import Retriever

    retriever = Retriever(Index.open(Store("index").resolve(index)))
    for hit in retriever.page(retriever.search(query, mode), 0, top_k):
        title = hit.document.title or hit.document.id
        if as_json:
            record = {"rank": hit.rank, "score": hit.score, "id": hit.document.id, "title": title, "text": hit.passage}
            typer.echo(json.dumps(record, ensure_ascii=False))
        else:
            typer.echo(f"{hit.rank:3}  {hit.score:7.3f}  {title}\n     {' '.join(hit.passage.split())[:160]}")


@app.command("list")
def list_artifacts(kind: Kind = "index") -> None:
    """List the artifacts, oldest first; a star marks the live one."""
    from indexer.artifacts.store import Store

    store = Store(kind)
    live = store.current_id()
    for artifact in store.ids():
        manifest = store.manifest(artifact)
        counts = ", ".join(f"{number:,} {name}" for name, number in manifest.counts.items())
        size = sum(entry.size for entry in manifest.files.values()) / 1e6
        parents = " ".join(f"{name}={parent}" for name, parent in manifest.parents.items())
        typer.echo(f"{'*' if artifact == live else ' '} {artifact}  {size:,.0f} MB  {counts}  {parents}".rstrip())


@app.command()
def verify(
    artifact: Annotated[str | None, typer.Argument(help="Id of an artifact (default: all)")] = None,
    kind: Kind = "index",
) -> None:
    """Check every file of an artifact against its manifest.

    An index is checked together with the models that it pins; without an id, also the log of live writes.
    """
    from indexer.artifacts.store import Store, data_dir, verify_parents

    store = Store(kind)
    if live := store.current_id():
        store.path(live)  # CURRENT must name an existing artifact
    for name in [artifact] if artifact else store.ids():
        manifest = store.verify(name)
        verify_parents(manifest)
        typer.echo(f"{name}: {len(manifest.files)} files as published")
    if kind == "index" and not artifact:
        from indexer.errors import UserError
        from indexer.live.inspect import log_problems
        from indexer.live.log import WriteLog

        log = WriteLog(data_dir())
        with log.shared():
            log.read()
        if log.sequence:
            typer.echo(f"{log.folder}: {log.sequence:,} writes, as they were written")
        if problems := log_problems(data_dir()):
            raise UserError("; ".join(problems))


@app.command()
@options(StoreSettings)
def activate(
    artifact: Annotated[str, typer.Argument(help="Id of an artifact")],
    settings: StoreSettings,
    kind: Kind = "index",
) -> None:
    """Make an artifact the live one, for instance to roll back to an earlier index. It is verified first.

    With --store milvus the alias is switched to the index as well; it is copied there unless it still is.
    """
    from indexer.artifacts.store import Store, verify_parents

    store = Store(kind)
    verify_parents(store.verify(artifact))
    if settings.store == "milvus":
        if kind != "index":
            raise typer.BadParameter("only indexes are kept in Milvus", param_hint="--store")
        require_client()
    store.activate(artifact)
    _publish_live(settings)
    typer.echo(f"live: {artifact}")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="File to write; with .zst at its end it is compressed")],
    live: Annotated[bool, typer.Option("--live", help="Only what is live, and what that needs")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists")] = False,
) -> None:
    """Write the data directory into one file, also while it is served and written to.

    In it are all artifacts, live writes, feedback and API keys. Every file is compared with its checksum. Of the trainer's
    stages nothing is kept.
    """
    from indexer.live.backup.create import backup as create

    done = create(file, live_only=live, overwrite=overwrite)
    typer.echo(f"{file}: {done.artifacts} artifacts, {done.size / 1e6:,.0f} MB, live writes up to {done.writes:,}")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="File that `backup` has written")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is live, live writes and keys, where they are others")
    ] = False,
) -> None:
    """Write a backup into the data directory. Where it was killed, the same command goes on.

    What is there stays, if it is the same. Nothing becomes live before all of the backup was read and verified.
    """
    from indexer.live.backup.restore import restore as read

    done = read(file, overwrite=overwrite)
    typer.echo(f"{done.artifacts} artifacts, {done.size / 1e6:,.0f} MB, live writes up to {done.writes:,}")


@app.command()
@options(StoreSettings)
def prune(
    settings: StoreSettings,
    keep: Annotated[int, typer.Option(min=0, help="Number of the newest artifacts of each kind that stay")] = 3,
) -> None:
    """Remove old artifacts and the leftovers of killed builds.

    Some artifacts stay whatever their age: the live one of each kind, the model that the live model was tuned from, and
    every model that a remaining index pins. With --store milvus the collections of removed indexes are dropped, too.
    """
    from indexer.artifacts.store import Store

    indexes, models = Store("index"), Store("model")
    with indexes.building(), models.building():
        removed = indexes.prune(keep, set())
        parents = [indexes.manifest(artifact).parents for artifact in indexes.ids()]
        pinned = {pins["model"] for pins in parents if "model" in pins}
        if live := models.current_id():
            pinned.add(models.manifest(live).config.get("tuned_from", live))
        removed += models.prune(keep, pinned)
    for store in (Store("masked"), Store("classifier"), Store("reranker"), Store("sparse")):
        if store.root.is_dir():
            with store.building():
                removed += store.prune(keep, {pins[store.kind] for pins in parents if store.kind in pins})
    if settings.store == "milvus":
        require_client()
        from indexer.milvus.publish import drop_others

        removed += drop_others(indexes.ids(), settings)
    typer.echo("\n".join(f"removed {name}" for name in removed) or "nothing to remove")
