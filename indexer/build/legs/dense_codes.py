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
from indexer.build.legs.recall import choose, describe, find_nearest, measure
from indexer.build.settings import BuildSettings
from indexer.build.weights.neighbour_questions import pick_sentence
from indexer.index import dense
from indexer.index.approximate import codes
from indexer.index.approximate.codes import Codes, make_codes, open_codes
from indexer.index.approximate.kinds import DenseKind, candidate_kinds, count_lists
from indexer.index.approximate.leg import ApproximateDense
from indexer.index.dense import DenseIndex, unit, write_faiss
from indexer.index.index import Index, open_documents
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
    documents, rng = open_documents(folder), random.Random(0)  # noqa: S311 - a sample, no secret
    rows = np.linspace(0, len(documents) - 1, min(MAX_SENTENCES, len(documents))).astype(np.int64)
    texts = [pick_sentence(documents.row(row, ["text"])["text"], rng) for row in rows.tolist()]
    sentences = [text for text in texts if text]
    with stage("encode queries that measure the recall"):
        vectors = unit(encoder.encode_queries([*sentences, *logged]))
    if dense_map is not None:
        vectors = np.concatenate([vectors, unit(vectors @ dense_map.T)])
    return RecallQueries(vectors, {"sentences": len(sentences), "logged": len(logged)})


def recall_queries(index: Index, data: Path) -> Vectors:
    """Return vectors of queries by which the recall of an opened index is measured, wherever it is served."""
    return make_queries(index.folder, index.encoder, logged_queries(data), index.dense_map).vectors


def write_codes(
    path: Path,
    kind: DenseKind,
    exact: DenseIndex,
    threads: int,
    centres: Vectors | None = None,
    *,
    components: int | None = None,
) -> Codes:
    """Train the codes of ``kind`` on a sample of the vectors of ``exact``, write those of all to ``path``, and open them.

    With ``centres`` of lists, shape (lists, components), those of an inverted file are not trained again. With
    ``components``, codes are made of the first so many of each vector, scaled to length one again (Kusupati et al.,
    «Matryoshka Representation Learning», NeurIPS 2022).

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    passages, length = len(exact), components or exact.dimension
    index = make_codes(kind, length, passages, None if centres is None else len(centres))
    sample = POINTS_PER_LIST * count_lists(passages) if kind.startswith("ivf") else SAMPLE
    rows = np.sort(np.random.default_rng(0).choice(passages, min(sample, passages), replace=False))
    vectors = _first_components(exact.vectors(rows), length)
    if centres is not None and isinstance(index, faiss.IndexIVF):
        index.quantizer.add(centres)
    with stage(f"train the dense index ({kind}, {len(rows):,} vectors)"):
        faiss.omp_set_num_threads(threads)
        index.train(vectors)
    with Bar(f"write the dense index ({kind})", passages, "passages") as bar:
        for start in range(0, passages, BLOCK_ROWS):
            block = _first_components(exact.vectors(np.arange(start, min(start + BLOCK_ROWS, passages))), length)
            faiss.omp_set_num_threads(threads)  # reading them has set it to one
            index.add(block)
            bar.advance(len(block))
    write_faiss(path, index)
    return open_codes(path)


def _first_components(vectors: Vectors, length: int) -> Vectors:
    return vectors if vectors.shape[1] == length else unit(vectors[:, :length])


def declared_components(model: Path, dimension: int) -> list[int]:
    """Return the lengths below ``dimension`` for which a model was trained, ascending.

    Those under a quarter are left out: what they save is little beside the rest of a passage, and each is trained.
    """
    declared = read_manifest(model).config.get("matryoshka", ())
    return sorted(length for length in declared if dimension <= 4 * length < 4 * dimension)


@dataclass(frozen=True)
class EarlierCodes:
    """The codes of an earlier index, of which nearly all vectors are those of the new one.

    Attributes:
        folder: of the index.
        new: share of the new index's vectors that the earlier one does not have.
    """

    folder: Path
    new: float

    def centres(self, kind: DenseKind, passages: int, components: int | None) -> tuple[Vectors, float] | None:
        """Return the centres of its lists, and the share of vectors that has changed since these were trained.

        None where it is of another kind or of other components, or too much has changed.
        """
        config = read_manifest(self.folder).config
        facts = config.get("dense_index", {})
        changed = facts.get("changed", 0.0) + self.new
        lists = count_lists(passages) / facts["lists"] if facts.get("lists") else 0
        if (config["dense"], facts.get("components")) != (kind, components):
            return None
        if changed > MOST_CHANGED or abs(lists - 1) > MOST_CHANGED:
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
    lengths: list[int | None] = [*declared_components(encoder.folder, exact.dimension), None]
    if settings.dense_components:
        facts["requested_components"] = settings.dense_components
        lengths = [settings.dense_components]
    if kinds == ("flat",):
        return {"dense": "flat", "dense_index": facts | {"bytes_per_passage": 4 * exact.dimension}}
    queries = make_queries(folder, encoder, logged, dense_map)
    nearest = find_nearest(exact, queries.vectors)
    path, inherited, centres = folder / codes.FILE, dict[int | None, float](), dict[int | None, Vectors | None]()
    for length in lengths:
        if found_earlier := earlier and earlier.centres(kinds[0], len(exact), length):
            centres[length], inherited[length] = found_earlier[0], round(found_earlier[1], 4)
    for kind, length in [(kind, length) for length in lengths for kind in kinds]:
        found_by = write_codes(path, kind, exact, encoder.cores, centres.get(length), components=length)
        leg, centres[length] = ApproximateDense(exact, found_by, 1, 0), found_by.centres()
        points = measure(leg, queries.vectors, nearest, target)
        point = choose(points, target, leg)
        found = describe(leg, point, points, queries.vectors)
        of = f" of {length} components" if length else ""
        say(f"dense index: {kind}{of}, recall {point.recall:.3f} (--dense sets another kind, --recall another recall)")
        if point.recall >= target:
            break
    else:
        if inherited:  # lists of its own may do
            return index_vectors(folder, settings, encoder, logged=logged, dense_map=dense_map)
        whole = "all components, " if length else ""
        say(f"the recall is below --recall {target}: {whole}--dense ivf-int8 may reach it, --dense flat is exact")
    size = round(path.stat().st_size / max(len(exact), 1), 1)
    cut = ({"components": length} if length else {}) | ({"changed": inherited[length]} if length in inherited else {})
    lists = {"lists": leg.codes.lists} if leg.codes.lists else {}
    return {
        "dense": kind,
        "dense_index": facts | {"bytes_per_passage": size} | cut | lists | found | {"queries": queries.counts},
    }
