"""`trainer bridge`: search the live index by a new model's queries, before the new model has an index of its own.

python -m trainer bridge sentence-transformers/all-mpnet-base-v2
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from indexer.artifacts.manifest import Manifest, describe_input, fingerprint, library_versions
from indexer.artifacts.store import Store, data_dir
from indexer.build.share import share_index
from indexer.build.vectors import maps_queries, vectors_of
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.inference.encoder import BRIDGE, Encoder
from indexer.progress import say, stage
from trainer.adapter.ridge import AffineMap, fit_map
from trainer.data.labels import LabelFiles, label_files, load_labels
from trainer.files import training_dir
from trainer.models.artifact import LIBRARIES
from trainer.pipeline.bases.bridge.artifact import write_bridge
from trainer.pipeline.bases.bridge.exam import Exam, examine
from trainer.pipeline.bases.bridge.pairs import Pairs, choose_texts, make_pairs
from trainer.pipeline.bases.bridge.questions import MAX_QUESTIONS, ask
from trainer.pipeline.bases.candidate import Candidate, publish_candidates
from trainer.pipeline.settings import BridgeSettings
from trainer.pipeline.workspace import Workspace

ASKED_SHARE = 0.2
"""Share of the documents about which questions are asked; the map is learned from texts of the others."""
PARITY_TEXTS = 32
RECIPE = 1
"""Version of the command: raised when it gives other results."""


@dataclass(frozen=True)
class Bridged:
    """The model and the index that are published, not live; what the questions said; and whether they are new."""

    model: Manifest
    index: Manifest
    lines: list[str]
    fresh: bool


def bridge(model: str, settings: BridgeSettings, data: Path | None = None) -> Bridged:
    """Learn a map from a new model's queries to the vectors of an index, and publish a model and an index with it.

    Nothing goes live, and no document is encoded. A command that was killed takes up the vectors that it has.

    Args:
        model: the new model: a name on the Hub, a directory or the id of a published model.
        settings: see `BridgeSettings`.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: there is no index, or the model, the labels or the index are refused.
    """
    data = data or data_dir()
    files = label_files(settings.qrels, settings.queries)
    labels = load_labels(files[0], files[1]) if files else None
    indexes, models = Store("index", data), Store("model", data)
    with stage("open the index"):
        index = Index.open(indexes.resolve(settings.index))
    old = models.manifest(index.manifest.parents["model"])
    if "queries_of" in old.config:
        raise UserError(
            f"index {index.manifest.id}: its queries are another model's already; name one whose documents and queries have "
            "the same model by --index"
        )
    (candidate,) = publish_candidates([model], data)
    if candidate.id == old.id or (candidate.folder / BRIDGE).is_dir():
        reason = "is the model of the index" if candidate.id == old.id else "takes its vectors from another one"
        raise UserError(f"{model}: {reason}; name a model that is to replace the index's one")
    recipe = settings.model_dump(mode="json", include={"sample", "budget", "seed"}) | {"recipe": RECIPE}
    parents = {"old": old.id, "new": candidate.id, "index": index.manifest.id}
    key = fingerprint("model", parents, [describe_input(path, path.name) for path in files], recipe)
    published = models.reuse(key, live=False)
    fresh = published is None
    if published is None:
        published = _make(index, old, candidate, settings, labels=labels, key=key, data=data)
    return Bridged(published, share_index(index, published.id, data), published.notes, fresh)


def _make(
    index: Index,
    old: Manifest,
    candidate: Candidate,
    settings: BridgeSettings,
    *,
    labels: LabelFiles | None,
    key: str,
    data: Path,
) -> Manifest:
    """Encode, learn, examine and publish the model."""
    models = Store("model", data)
    rows = random.Random(settings.seed).sample(range(len(index)), len(index))  # noqa: S311 - a sample, no secret
    count = min(max(round(ASKED_SHARE * len(rows)), 1), MAX_QUESTIONS)
    asked, others = rows[:count], rows[count:]
    with (
        Workspace(training_dir(data) / "bridge", key) as workspace,
        TemporaryDirectory(dir=workspace.folder, prefix=".pool-") as pool,
    ):
        encoder = Encoder.open(candidate.folder)
        pairs = make_pairs(
            index,
            others,
            encoder,
            count=settings.sample,
            seconds=settings.budget_seconds,
            seed=settings.seed,
            workspace=workspace,
        )
        learned = _learn(pairs, settings.seed)
        texts = [item.text for item in choose_texts(index, asked, 2 * PARITY_TEXTS, settings.seed)][:PARITY_TEXTS]
        kinds = ask(index, (asked, others), labels, folder=Path(pool), seed=settings.seed)
        with models.building():
            staging = models.staging(key)
            contract, parity = write_bridge(staging, (models.path(old.id), old), candidate.folder, learned, texts)
            new = Encoder(staging, contract, index.encoder.precision)
            exam = examine(kinds, index, new, workspace, settings.seed)
            draft = Manifest(
                kind="model",
                fingerprint=key,
                inputs=[],
                config=_config(old, vectors_of(models, old.id), candidate, learned, exam, pairs=len(pairs.new)),
                encoder=contract,
                counts={"parameters": old.counts["parameters"] + candidate.manifest.counts["parameters"]},
                metrics=_metrics(exam, learned, parity),
                notes=exam.lines,
                versions=library_versions(*LIBRARIES),
            )
            return models.publish(staging, draft, live=False)


def _learn(pairs: Pairs, seed: int) -> AffineMap:
    # Short texts are like queries; an index without any is judged by passages.
    learned = fit_map(pairs.new, pairs.old, pairs.short if pairs.short.sum() >= 10 else ~pairs.short, seed)
    say(
        f"map: {len(pairs.new):,} pairs, penalty {learned.penalty:g}, mean cosine {learned.cosine:.3f} to the old vectors of "
        "texts left out"
    )
    return learned


def _config(
    old: Manifest, vectors: str, candidate: Candidate, learned: AffineMap, exam: Exam, *, pairs: int
) -> dict[str, Any]:
    config = {
        "base": candidate.name,
        "vectors_of": vectors,
        "queries_of": candidate.id,
        "bridge": {"pairs": pairs, "penalty": learned.penalty, "judgement": exam.judgement},
    }
    carried = ("map_of", "hybrid") if maps_queries(old.config) else ()
    return config | {name: old.config[name] for name in (*carried, "dense_weight") if name in old.config}


def _metrics(exam: Exam, learned: AffineMap, parity: float) -> dict[str, float]:
    metrics = {"parity_fp32": parity, "bridge_cosine": learned.cosine}
    for leg, (before, after) in exam.means.items():
        metrics |= {f"old_queries_{leg}_ndcg10": before, f"new_queries_{leg}_ndcg10": after}
    return {name: round(value, 6) for name, value in metrics.items()}
