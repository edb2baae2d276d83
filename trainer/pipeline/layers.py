"""The dearest rung: the encoder's own layers, trained on labels with hard negatives.

Ranking among the passages of a batch that lie near each other (`trainer.finetune.grouped`), for as long as the budget leaves
after what has to follow: every passage is encoded again, and the map is learned anew on the new vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.index.dense import DenseIndex
from indexer.index.index import Index
from indexer.inference.encoder import Encoder, Vectors
from indexer.progress import say, stage
from trainer.adapter.distillation import all_passages, best_passages
from trainer.adapter.ladder import EncodedQueries
from trainer.evaluate.encode import encode_passages, encode_queries
from trainer.files import whole
from trainer.finetune.finetune import finetune
from trainer.finetune.grouped import NEIGHBOURHOOD
from trainer.finetune.settings import FinetuneSettings
from trainer.models.onnx import encoder_contract, export_onnx, load
from trainer.pipeline.dataset import RunData
from trainer.pipeline.workspace import EXAMPLES, Workspace
from trainer.training.output import Trained

RATE = 1e-4
BATCH = 32
TOKENS = 192
EPOCHS = 6.0
NEIGHBOURS = 8
"""Passages that are put into one batch because they lie near each other."""


@dataclass(frozen=True)
class TrainedLayers:
    """A trained encoder, what it makes of the corpus, and of the questions."""

    directory: Path
    index: Index
    passages: Vectors
    trained: Trained
    material: RunData


def train_layers(
    index: Index, material: RunData, start: Path, *, seconds: float, seed: int, workshop: Workspace
) -> TrainedLayers:
    """Train the layers of the encoder in ``start`` and encode the corpus and the questions with it.

    Args:
        index: of the corpus, with the encoder that is trained further.
        material: its labels are learned from.
        start: a sentence-transformers directory.
        seconds: that the training may take.
        seed: of the order of the examples.
        workshop: checkpoints, examples and vectors are kept there, so that a killed run goes on.
    """
    if material.supervised is None:
        raise ValueError("there are no labels to learn from")
    examples = workshop.folder / EXAMPLES
    if not examples.is_file():
        with whole(examples) as part:
            pq.write_table(_examples(index, material, material.supervised, seed), part)
    settings = FinetuneSettings(
        model=str(start), loss="grouped-mnr", batch_size=BATCH, learning_rate=RATE, epochs=EPOCHS, max_tokens=TOKENS,
        seed=seed, budget=f"{seconds:.0f}s", resume=True,
    )  # fmt: skip
    trained = finetune([examples], settings, workshop.folder / "layers")
    model = load(trained.path)
    with stage("export the trained layers"):
        export_onnx(model, trained.path / "onnx" / "model.onnx")
    encoder = Encoder(trained.path, encoder_contract(model))
    made = workshop.arrays("layers-vectors", lambda: {"passages": encode_passages("encode passages", encoder, index)})
    passages: Vectors = made["passages"]
    return TrainedLayers(
        directory=trained.path,
        index=index.with_encoder(encoder, DenseIndex.of(passages)),
        passages=passages,
        trained=trained,
        material=_encoded(material, encoder),
    )


def _examples(index: Index, material: RunData, asked: EncodedQueries, seed: int) -> pa.Table:
    """Return each labelled query with the nearest passage of each answer, and which of these lie near each other."""
    queries = [query for query in asked.queries.texts for _ in asked.queries.qrels[query]]
    row = {query: row for row, query in enumerate(asked.queries.texts)}
    documents = [material.rows[document] for query in asked.queries.texts for document in asked.queries.qrels[query]]
    vectors, passages = asked.vectors[[row[query] for query in queries]], all_passages(index)
    best = best_passages(index, vectors, passages, np.array(documents)[:, None])[:, 0]
    distinct, which = np.unique(best, return_inverse=True)
    numbers = neighbourhoods(passages[distinct], NEIGHBOURS, seed)
    columns = {
        "query": [asked.queries.texts[query] for query in queries],
        "positive": [
            index.passage_texts(document)[passage - index.first_passage[document]]
            for document, passage in zip(documents, best, strict=True)
        ],
        NEIGHBOURHOOD: numbers[which],
    }
    say(f"{len(queries):,} pairs of {len(distinct):,} passages to learn from")
    return pa.table(columns)


def _encoded(material: RunData, encoder: Encoder) -> RunData:
    """Return the material with the vectors that the trained encoder gives its queries."""

    def again(name: str, asked: EncodedQueries) -> EncodedQueries:
        return EncodedQueries(asked.queries, encode_queries(name, encoder, list(asked.queries.texts.values())))

    return material.with_vectors(
        practice=again("encode practice", material.practice),
        supervised=again("encode labels", material.supervised) if material.supervised else None,
        dev=again("encode dev", material.dev),
    )


BLOCK = 8_192
"""Vectors among which neighbours are looked for: time grows with the square of it, and near enough is enough."""


def neighbourhoods(vectors: Vectors, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Return a number for each vector, from 0; at most ``size`` vectors have the same.

    A vector that nobody has taken yet, drawn at random, takes the nearest ones that are free, and so on.

    Args:
        vectors: unit vectors, shape (vectors, dimension).
        size: of a group.
        seed: of the order in which they choose.
    """
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(vectors))
    numbers = np.empty(len(vectors), dtype=np.int64)
    count = 0
    for start in range(0, len(vectors), BLOCK):
        rows = order[start : start + BLOCK]
        free = np.ones(len(rows), dtype=np.bool_)
        for place in range(len(rows)):
            if not free[place]:
                continue
            scores = np.where(free, vectors[rows] @ vectors[rows[place]], -np.inf)
            scores[place] = np.inf
            taken = np.argpartition(-scores, min(size, len(rows)) - 1)[:size]
            taken = taken[free[taken]]
            numbers[rows[taken]] = count
            free[taken] = False
            count += 1
    return numbers
