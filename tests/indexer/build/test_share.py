"""A copy of a compacted index for a model that differs in its queries only, and builds of the corpus beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tales import write_tales
from tests_support import publish_mapped

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.settings import BuildSettings
from indexer.build.share import share_index
from indexer.index.index import Index
from indexer.live.log import WriteLog
from indexer.live.prepare import NewDocument, Preparer

SETTINGS = BuildSettings(dense_weight=0.5, language="en")


def test_a_copy_of_a_compacted_index(data: Path, tmp_path: Path) -> None:
    """The copy has the folded writes; a build of the corpus with either model is not taken for it, nor it for a build.

    A compacted index stands for the build of its corpus. Its copy does not: it has another model.
    """
    indexes, models = Store("index", data), Store("model", data)
    corpus, base = str(write_tales(tmp_path / "tales.parquet", 30)), models.resolve().name
    built = build(corpus, SETTINGS, data, cores=1).manifest
    preparer = Preparer(Index.open(indexes.path(built.id), cores=1))
    log = WriteLog(data)
    with log.locked():
        log.read()
        log.append(log.draft(preparer.recipe, preparer.prepare([NewDocument("x", None, "A ship.", {})])))
    compacted = Index.open(indexes.path(compact(data, cores=1).manifest.id), cores=1)
    publish_mapped(data, np.eye(32, dtype=np.float32), queries_only=True)
    other = models.ids()[-1]
    copy = share_index(compacted, other, data)
    assert indexes.current_id() == compacted.manifest.id
    assert share_index(compacted, other, data).id == copy.id
    opened = Index.open(indexes.path(copy.id), cores=1)
    assert opened.row_of("x") is not None
    assert opened.folded == compacted.folded == 1
    assert Preparer(opened).recipe == preparer.recipe
    indexes.activate(copy.id)
    again = build(corpus, SETTINGS.model_copy(update={"model": base}), data, cores=1)
    assert again.manifest.id == built.id
    assert indexes.current_id() == built.id
