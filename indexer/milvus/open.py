"""Opening of the live index in Milvus: the alias is resolved, all rows are counted, and the model is opened."""

from __future__ import annotations

from pathlib import Path

from indexer.artifacts.store import Store
from indexer.errors import StoreError, UserError
from indexer.index.index import open_encoder
from indexer.milvus.about import About, read_about
from indexer.milvus.collections import Names
from indexer.milvus.engine import CALL_SECONDS, Engine
from indexer.milvus.index import MilvusIndex, Stored
from indexer.milvus.settings import StoreSettings


def open_index(
    settings: StoreSettings,
    data: Path | None = None,
    *,
    cores: int | None = None,
    query_cache_bytes: int = 0,
    before: MilvusIndex | None = None,
    seconds: float = CALL_SECONDS,
) -> MilvusIndex:
    """Open the index that the alias names.

    Args:
        settings: where Milvus is.
        data: the data directory with the model that the index pins; by default ``$DOWSE_DATA``.
        cores: how many queries the encoder encodes in parallel; by default one on each core.
        query_cache_bytes: memory for the vectors of recent queries; by default none are cached.
        before: an index that was open; its encoder is taken over where it is of the same model.
        seconds: longest time of a call.

    Raises:
        StoreError: Milvus is away or too slow, or rows of the index are gone.
        UserError: nothing was published there, or the model is absent or was altered.
    """
    engine = Engine(str(settings.uri), settings.token, seconds)
    try:
        names, about = _read_live(engine, settings)
        manifest = about.manifest
        if before is not None and before.manifest.parents == manifest.parents:
            encoder = before.encoder
        else:
            encoder = open_encoder(Store("model", data), manifest, cores=cores, query_cache_bytes=query_cache_bytes)
    except BaseException:
        engine.close()
        raise
    return MilvusIndex(Stored.of(engine, names, about), encoder)


def _read_live(engine: Engine, settings: StoreSettings) -> tuple[Names, About]:
    """Return names and description of the index that the alias names, whose rows are all there."""
    collection = engine.alias_target(settings.alias)
    if collection is None:
        raise UserError(
            f"Milvus at {settings.uri}: the alias {settings.alias!r} names no index; run "
            f"`python -m indexer build CORPUS --store milvus --uri {settings.uri}`"
        )
    names = Names(collection)
    for name in names.all:  # after a restart they may not be in memory
        engine.call("load_collection", name)
    about = read_about(engine, names)
    if about is None:
        raise StoreError(f"Milvus at {settings.uri}: {names.lookup} does not describe its index; publish it again")
    if missing := about.missing(engine, names):
        raise StoreError(f"Milvus at {settings.uri}: {missing}; publish the index again")
    return names, about
