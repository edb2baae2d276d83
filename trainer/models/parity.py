"""Does the ONNX encoder give the vectors that sentence-transformers gives? Asked before a model is published."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from indexer.artifacts.manifest import EncoderContract
from indexer.corpus.corpus import Corpus
from indexer.corpus.sample import write_sample
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder, Precision
from indexer.progress import stage
from trainer.training.settings import BaseSettings

TEXTS = 200
LEAST_COSINE: dict[Precision, float] = {"fp32": 0.999, "int8": 0.98}


def parity_texts(settings: BaseSettings) -> list[str]:
    """Return the texts to compare on: from the corpus, or from Python's documentation where none was given."""
    with tempfile.TemporaryDirectory() as folder:
        source = settings.corpus
        if source is None:
            source = f"{folder}/sample.parquet"
            write_sample(Path(source))
        corpus = Corpus.check(source, text_column=settings.text_column, limit=20 * TEXTS, skip_bad_rows=True)
        texts: list[str] = [text for batch in corpus.batches() for text in batch.column("text").to_pylist()]
    return texts[:: max(len(texts) // TEXTS, 1)][:TEXTS]


def check_parity(
    model: SentenceTransformer,
    folder: Path,
    contract: EncoderContract,
    texts: list[str],
    *,
    int8: bool,
    insist: bool = True,
) -> dict[str, float]:
    """Return the smallest cosine between the two encoders over ``texts``, per precision.

    Without ``insist``, 8-bit weights that differ too much are left out of the result.

    Raises:
        UserError: a cosine is below 0.999 (32-bit floats) or 0.98 (8-bit integers).
    """
    metrics = {}
    with stage(f"compare with sentence-transformers on {len(texts)} texts"):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # several threads wait for one another when another process holds a core
        expected = unit(model.encode_document(texts, show_progress_bar=False))
        torch.set_num_threads(threads)
        for precision in ("fp32", "int8") if int8 else ("fp32",):
            vectors = Encoder(folder, contract, precision).encode_documents(texts)
            least = float(np.einsum("ij,ij->i", expected, unit(vectors)).min())
            if least < LEAST_COSINE[precision]:
                if precision == "int8" and not insist:
                    continue
                raise UserError(
                    f"the {precision} ONNX encoder differs from sentence-transformers: cosine {least:.4f}, "
                    f"needed {LEAST_COSINE[precision]}; "
                    + ("publish without --int8" if precision == "int8" else "not published")
                )
            metrics[f"parity_{precision}"] = round(least, 6)
    return metrics
