"""The dearest rung: the encoder's own layers, trained on labels with hard negatives.

Multiple negatives ranking with one mined negative a query (`trainer.negatives`, `trainer.finetune`), for as long as the
budget leaves after what has to follow: every passage is encoded again, and the map is learned anew on the new vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from indexer.dense import DenseIndex
from indexer.encoder import Encoder, Vectors
from indexer.index import Index
from indexer.progress import say, stage
from indexer.retrieval import Retriever
from trainer.encode import encode_passages, encode_queries
from trainer.export import encoder_contract, export_onnx, load
from trainer.finetune import finetune
from trainer.ladder import Asked
from trainer.material import Material
from trainer.negatives import mine
from trainer.outputs import Trained
from trainer.pairs import SCHEMA
from trainer.settings import FinetuneSettings, NegativesSettings
from trainer.workshop import Workshop

LEAST_SECONDS = 90.0
"""Training for less than this is not worth encoding the corpus again."""
EXAMPLES = "examples.parquet"
RATE = 5e-5
BATCH = 32
TOKENS = 192
EPOCHS = 4.0


@dataclass(frozen=True)
class Layers:
    """A trained encoder, what it makes of the corpus, and of the questions."""

    directory: Path
    index: Index
    passages: Vectors
    trained: Trained
    material: Material


def train_layers(index: Index, material: Material, start: Path, seconds: float, workshop: Workshop) -> Layers:
    """Train the layers of the encoder in ``start`` and encode the corpus and the questions with it.

    Args:
        index: of the corpus, with the encoder that is trained further.
        material: its labels are learned from.
        start: a sentence-transformers directory.
        seconds: that the training may take.
        workshop: checkpoints, examples and vectors are kept there, so that a killed run goes on.
    """
    if material.supervised is None:
        raise ValueError("there are no labels to learn from")
    examples = workshop.folder / EXAMPLES
    if not examples.is_file():
        _mine(index, material, examples)
    settings = FinetuneSettings(
        model=str(start), loss="mnr", batch_size=BATCH, learning_rate=RATE, epochs=EPOCHS, max_tokens=TOKENS,
        budget=f"{seconds:.0f}s", resume=True,
    )  # fmt: skip
    trained = finetune([examples], settings, workshop.folder / "layers")
    model = load(trained.path)
    with stage("export the trained layers"):
        export_onnx(model, trained.path / "onnx" / "model.onnx")
    encoder = Encoder(trained.path, encoder_contract(model))
    made = workshop.arrays("layers-vectors", lambda: {"passages": encode_passages("encode passages", encoder, index)})
    passages: Vectors = made["passages"]
    return Layers(
        directory=trained.path,
        index=index.with_encoder(encoder, DenseIndex.of(passages)),
        passages=passages,
        trained=trained,
        material=_encoded(material, encoder),
    )


def _mine(index: Index, material: Material, out: Path) -> None:
    labelled = material.supervised.questions if material.supervised else None
    rows = [
        (f"{query}/{document}", text, document, document, "label")
        for query, text in (labelled.texts.items() if labelled else ())
        for document in labelled.qrels[query]  # type: ignore[union-attr]
    ]
    pairs = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)
    allowed = np.ones(len(index), dtype=np.bool_)
    allowed[[material.rows[document] for document in material.exam_documents]] = False
    summary = mine(pairs, Retriever(index), NegativesSettings(negatives=1, to_rank=30), out, allowed)
    say(f"{summary.kept:,} training examples")


def _encoded(material: Material, encoder: Encoder) -> Material:
    """Return the material with the vectors that the trained encoder gives its queries."""

    def again(name: str, asked: Asked) -> Asked:
        return Asked(asked.questions, encode_queries(name, encoder, list(asked.questions.texts.values())))

    return material.with_vectors(
        practice=again("encode practice", material.practice),
        supervised=again("encode labels", material.supervised) if material.supervised else None,
        dev=again("encode dev", material.dev),
    )
