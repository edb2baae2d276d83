"""Codes of a dense index: trained on a sample, written beside the full vectors, and measured before they are used."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from indexer.artifacts.manifest import read_manifest
from indexer.build.neighbour_questions import pick_sentence
from indexer.build.recall import choose, describe, find_nearest, measure
from indexer.build.settings import BuildSettings
from indexer.index import dense
from indexer.index.approximate import codes
from indexer.index.approximate.codes import Codes, make_codes, open_codes
from indexer.index.approximate.kinds import DenseKind, candidate_kinds, count_lists
from indexer.index.approximate.leg import ApproximateDense
from indexer.index.arrow import ArrowTable
from indexer.index.dense import DenseIndex, unit, write_faiss
from indexer.index.index import DOCUMENTS
from indexer.inference.encoder import Encoder, Vectors
from indexer.live.feedback import FeedbackLog
from indexer.progress import Bar, say, stage

MAX_SENTENCES = 400
MAX_LOGGED = 400
"""Queries of each kind by which the recall is measured."""
POINTS_PER_LIST = 50
"""Vectors of the sample for each list."""
SAMPLE = 50_000
"""Vectors of the sample where there are no lists."""
BLOCK_ROWS = 65_536
MOST_CHANGED = 0.1
"""Up to this share of vectors that are new since the lists were trained, a later index has the same lists."""


@dataclass(frozen=True)
class RecallQueries:
    """Queries by which the recall is measured: their vectors, shape (queries, dimension), and how many of each kind."""

    vectors: Vectors
    counts: dict[str, int]


def logged_queries(data: Path) -> list[str]:
    """Return what people have searched for and judged, the latest first, each once, at most `MAX_LOGGED`."""
    queries = [content.get("query") for content in FeedbackLog(data).read()]
    distinct = dict.fromkeys(query for query in reversed(queries) if isinstance(query, str) and query.strip())
    return list(distinct)[:MAX_LOGGED]


def make_queries(
    folder: Path, encoder: Encoder, logged: Sequence[str], dense_map: Vectors | None = None
) -> RecallQueries:
    """Return sentences of the documents in ``folder`` and ``logged`` queries, encoded as queries.

    With a ``dense_map`` each comes twice: as hybrid search, and as dense mode searches by it.
    """
    documents, rng = ArrowTable.open(folder / DOCUMENTS), random.Random(0)  # noqa: S311 - a sample, no secret
    rows = np.linspace(0, len(documents) - 1, min(MAX_SENTENCES, len(documents))).astype(np.int64)
    texts = [pick_sentence(documents.row(row, ["text"])["text"], rng) for row in rows.tolist()]
    sentences = [text for text in texts if text]
    with stage("encode queries that measure the recall"):
        vectors = unit(encoder.encode_queries([*sentences, *logged]))
    if dense_map is not None:
        vectors = np.concatenate([vectors, unit(vectors @ dense_map.T)])
    return RecallQueries(vectors, {"sentences": len(sentences), "logged": len(logged)})


def write_codes(path: Path, kind: DenseKind, exact: DenseIndex, threads: int, centres: Vectors | None = None) -> Codes:
    """Train the codes of ``kind`` on a sample of the vectors of ``exact``, write those of all to ``path``, and open them.

    With ``centres`` of lists, shape (lists, dimension), those of an inverted file are not trained again.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    passages = len(exact)
    index = make_codes(kind, exact.dimension, passages, None if centres is None else len(centres))
    sample = POINTS_PER_LIST * count_lists(passages) if kind.startswith("ivf") else SAMPLE
    rows = np.sort(np.random.default_rng(0).choice(passages, min(sample, passages), replace=False))
    vectors = exact.vectors(rows)
    if centres is not None and isinstance(index, faiss.IndexIVF):
        index.quantizer.add(centres)
    with stage(f"train the dense index ({kind}, {len(rows):,} vectors)"):
        faiss.omp_set_num_threads(threads)
        index.train(vectors)
    with Bar(f"write the dense index ({kind})", passages, "passages") as bar:
        for start in range(0, passages, BLOCK_ROWS):
            block = exact.vectors(np.arange(start, min(start + BLOCK_ROWS, passages)))
            faiss.omp_set_num_threads(threads)  # reading them has set it to one
            index.add(block)
            bar.advance(len(block))
    write_faiss(path, index)
    return open_codes(path)


@dataclass(frozen=True)
class EarlierCodes:
    """The codes of an earlier index, of which nearly all vectors are those of the new one.

    Attributes:
        folder: of the index.
        new: share of the new index's vectors that the earlier one does not have.
    """

    folder: Path
    new: float

    def centres(self, kind: DenseKind, passages: int) -> tuple[Vectors, float] | None:
        """Return the centres of its lists, and the share of vectors that has changed since these were trained.

        None where it is of another kind, or too much has changed.
        """
        config = read_manifest(self.folder).config
        facts = config.get("dense_index", {})
        changed = facts.get("changed", 0.0) + self.new
        lists = count_lists(passages) / facts["lists"] if facts.get("lists") else 0
        if config["dense"] != kind or changed > MOST_CHANGED or abs(lists - 1) > MOST_CHANGED:
            return None
        centres = open_codes(self.folder / codes.FILE).centres()
        return None if centres is None else (centres, changed)


def index_vectors(
    folder: Path,
    settings: BuildSettings,
    encoder: Encoder,
    *,
    logged: Sequence[str],
    dense_map: Vectors | None,
    earlier: EarlierCodes | None = None,
) -> dict[str, Any]:
    """Choose the kind of dense index for the vectors in ``folder``, write its codes, and set the effort of a search.

    Args:
        folder: with the full vectors and the documents.
        settings: the kind, or ``auto``, and the recall that is asked for.
        encoder: of the vectors.
        logged: queries of people, where there are any.
        dense_map: the map of queries for dense mode, where there is one.
        earlier: the codes of an earlier index. Its lists are not trained again; the recall is measured as ever.

    Returns:
        Fields of the manifest's configuration.
    """
    exact = DenseIndex.open(folder / dense.FILE)
    target = settings.recall
    facts: dict[str, Any] = {"requested": settings.dense, "target": target}
    kinds = candidate_kinds(settings.dense, len(exact))
    if kinds == ("flat",):
        return {"dense": "flat", "dense_index": facts | {"bytes_per_passage": 4 * exact.dimension}}
    queries = make_queries(folder, encoder, logged, dense_map)
    nearest = find_nearest(exact, queries.vectors)
    path, centres = folder / codes.FILE, None
    if found_earlier := earlier and earlier.centres(kinds[0], len(exact)):
        centres, facts["changed"] = found_earlier[0], round(found_earlier[1], 4)
    for kind in kinds:
        leg = ApproximateDense(exact, write_codes(path, kind, exact, encoder.cores, centres), 1, 0)
        centres = leg.codes.centres()
        points = measure(leg, queries.vectors, nearest, target)
        point = choose(points, target, leg)
        found = describe(leg, point, points, queries.vectors)
        say(f"dense index: {kind}, recall {point.recall:.3f} (--dense sets another kind, --recall another recall)")
        if point.recall >= target:
            break
    else:
        if found_earlier:  # lists of its own may do
            return index_vectors(folder, settings, encoder, logged=logged, dense_map=dense_map)
        say(f"the recall is below --recall {target}: --dense ivf-int8 may reach it, --dense flat is exact")
    size = round(path.stat().st_size / max(len(exact), 1), 1)
    lists = {"lists": leg.codes.lists} if leg.codes.lists else {}
    return {
        "dense": kind,
        "dense_index": facts | {"bytes_per_passage": size} | lists | found | {"queries": queries.counts},
    }
