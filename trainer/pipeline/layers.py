"""Last rung of the ladder: fine-tuning of the encoder's layers on labels, in batches of neighbouring passages.

Near passages are grouped into one batch, where they are hard negatives for each other (`trainer.finetune.grouped`): what is
hard to tell apart is learned together. The training time is what the budget leaves after the steps that must follow. These
are: encoding every passage again, and learning the map again on the new vectors.
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
from trainer.data.labels import QuerySet
from trainer.evaluate.encode import encode_passages, encode_queries
from trainer.files import atomic_write
from trainer.finetune.grouped import NEIGHBOURHOOD
from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.together import finetune_together
from trainer.models.load import load_encoder
from trainer.models.onnx import encoder_contract, export_onnx
from trainer.pipeline.dataset import RunData
from trainer.pipeline.workspace import EXAMPLES_FILE, Workspace
from trainer.training.base_model import count_processes
from trainer.training.output import FinishedTraining

LEARNING_RATE = 1e-4
BATCH_SIZE = 32
"""Passages of a batch, of all processes together."""
MAX_TOKENS = 192
EPOCHS = 6.0
GROUP_SIZE = 8
"""Neighbouring passages that go into one batch together."""
MAX_BLOCK = 8_192
"""Vectors among which neighbours are searched. Time grows with its square, and neighbours need not be exact."""


@dataclass(frozen=True)
class TrainedLayers:
    """A trained encoder with the vectors that it gives the corpus and the queries.

    Attributes:
        directory: of the encoder, in sentence-transformers' format.
        index: of the corpus, with the trained encoder and its vectors.
        passages: its vectors of all passages, shape (passages, dimension).
        trained: what the training has reported.
        run_data: the data of the run, with its vectors of the queries.
    """

    directory: Path
    index: Index
    passages: Vectors
    trained: FinishedTraining
    run_data: RunData


def train_layers(
    index: Index, run_data: RunData, start: Path, *, seconds: float, seed: int, workspace: Workspace
) -> TrainedLayers:
    """Train the layers of the encoder in ``start``, and encode the corpus and the queries with it.

    Args:
        index: of the corpus, with the encoder that is trained further.
        run_data: queries of the run, with the labels to train on.
        start: a sentence-transformers directory.
        seconds: time that the training may take.
        seed: of the order of the examples.
        workspace: keeps checkpoints, examples and vectors, from which a killed run resumes.

    Raises:
        ValueError: the run has no labels to train on.
    """
    if run_data.labelled is None:
        raise ValueError("there are no labels to learn from")
    examples = workspace.folder / EXAMPLES_FILE
    if not examples.is_file():
        with atomic_write(examples) as part:
            pq.write_table(_examples(index, run_data, run_data.labelled, seed), part)
    settings = FinetuneSettings(
        model=str(start), loss="grouped-mnr", batch_size=-(-BATCH_SIZE // count_processes()), learning_rate=LEARNING_RATE, epochs=EPOCHS,
        max_tokens=MAX_TOKENS, seed=seed, budget=f"{seconds:.0f}s", resume=True,
    )  # fmt: skip
    trained = finetune_together([examples], settings, workspace.folder / "layers")
    model = load_encoder(trained.path)
    with stage("export the trained layers"):
        export_onnx(model, trained.path / "onnx" / "model.onnx")
    encoder = Encoder(trained.path, encoder_contract(model))
    arrays = workspace.arrays(
        "layers-vectors", lambda: {"passages": encode_passages("encode passages", encoder, index)}
    )
    passages: Vectors = arrays["passages"]
    return TrainedLayers(
        directory=trained.path,
        index=index.with_encoder(encoder, DenseIndex.of(passages)),
        passages=passages,
        trained=trained,
        run_data=_encoded(run_data, encoder),
    )


def neighbourhoods(vectors: Vectors, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the number of each vector's group, from 0: near vectors are grouped, at most ``size`` together.

    Greedy: a vector without a group, drawn at random, forms one with the nearest vectors that have none yet. Neighbours are
    searched within blocks of `MAX_BLOCK` vectors.

    Args:
        vectors: unit vectors, shape (vectors, dimension).
        size: of a group, at most.
        seed: of the order in which vectors form groups.

    Returns:
        Group numbers, shape (vectors,).
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(vectors))
    numbers = np.empty(len(vectors), dtype=np.int64)
    count = 0
    for start in range(0, len(vectors), MAX_BLOCK):
        rows = order[start : start + MAX_BLOCK]
        free = np.ones(len(rows), dtype=np.bool_)
        for position in range(len(rows)):
            if not free[position]:
                continue
            scores = np.where(free, vectors[rows] @ vectors[rows[position]], -np.inf)
            scores[position] = np.inf
            members = np.argpartition(-scores, min(size, len(rows)) - 1)[:size]
            members = members[free[members]]
            numbers[rows[members]] = count
            free[members] = False
            count += 1
    return numbers


def _examples(index: Index, run_data: RunData, labelled: EncodedQueries, seed: int) -> pa.Table:
    """Return training examples: each labelled query with the nearest passage of each answer, and its neighbourhood."""
    texts, qrels = labelled.queries.texts, labelled.queries.qrels
    queries = [query for query in texts for _ in qrels[query]]
    row = {query: row for row, query in enumerate(texts)}
    documents = [run_data.rows[document] for query in texts for document in qrels[query]]
    vectors, passages = labelled.vectors[[row[query] for query in queries]], all_passages(index)
    best = best_passages(index, vectors, passages, np.array(documents)[:, None])[:, 0]
    distinct, positions = np.unique(best, return_inverse=True)
    numbers = neighbourhoods(passages[distinct], GROUP_SIZE, seed)
    columns = {
        "query": [texts[query] for query in queries],
        "positive": [
            index.passage_texts(document)[passage - index.first_passage[document]]
            for document, passage in zip(documents, best, strict=True)
        ],
        NEIGHBOURHOOD: numbers[positions],
    }
    say(f"{len(queries):,} pairs of {len(distinct):,} passages to learn from")
    return pa.table(columns)


def _encoded(run_data: RunData, encoder: Encoder) -> RunData:
    """Return the data of the run with the vectors that the trained encoder gives its queries."""

    def encode(name: str, queries: QuerySet) -> EncodedQueries:
        return EncodedQueries(queries, encode_queries(name, encoder, list(queries.texts.values())))

    return run_data.with_vectors(
        unlabelled=encode("encode unlabelled queries", run_data.unlabelled.queries),
        labelled=encode("encode labelled queries", run_data.labelled.queries) if run_data.labelled else None,
        dev=encode("encode dev queries", run_data.dev.queries),
    )
