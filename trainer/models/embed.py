"""Embed texts into a file: a PyTorch tensor, a NumPy array or a Parquet table; and list each text's nearest neighbours.

    python -m trainer embed "a house by the sea" "a flat in town"            → sample_embeddings.pt
    python -m trainer embed --file texts.txt --out embeddings.npy
    python -m trainer embed --file corpus.parquet --similar 3

Vectors are written batch by batch: memory holds one batch of them, and the texts only where neighbours are listed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.artifacts.store import ID_PATTERN, Store
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.index.dense import unit
from indexer.inference.encoder import Encoder, Precision, Vectors
from indexer.progress import Bar
from trainer.files import atomic_write
from trainer.models.settings import EmbedSettings

Side = Literal["query", "document"]
Encode = Callable[[list[str]], Vectors]
BATCH = 256
FORMATS = (".pt", ".npy", ".parquet")


def embed(
    texts: Iterable[str],
    settings: EmbedSettings,
    side: Side,
    total: int | None = None,
    show: Callable[[str], object] = print,
) -> int:
    """Write the vectors of ``texts`` to ``settings.out`` and return how many there are.

    ``.pt`` holds a float32 tensor, ``.npy`` an array, both of shape (texts, dimension) in the order of the texts;
    ``.parquet`` the columns text and embedding.

    Args:
        texts: the texts to embed.
        settings: model, format and number of neighbours.
        side: whether texts are encoded with the model's prompt for queries or for documents.
        total: number of the texts, where it is known.
        show: called with each line of the neighbours that ``settings.similar`` asks for.

    Raises:
        UserError: there is no text or no such model, or the file cannot be written.
    """
    if settings.out.suffix not in FORMATS:
        raise UserError(f"--out {settings.out}: give a name that ends in {', '.join(FORMATS)}")
    encode = open_encoder(settings.model, settings.precision, side)
    kept_texts: list[str] = []
    raw = settings.out.with_name(f".{settings.out.name}.vectors")
    remaining = iter(texts)
    try:
        with atomic_write(settings.out) as part:
            rows, dimension = 0, 0
            with raw.open("wb") as file, Bar("embed", total, "texts") as bar, VectorTable(part, settings.out) as table:
                while batch := list(islice(remaining, BATCH)):
                    vectors = np.ascontiguousarray(encode(batch), dtype=np.float32)
                    rows, dimension = rows + len(batch), vectors.shape[1]
                    file.write(vectors.data)
                    table.add(batch, vectors)
                    kept_texts += batch if settings.similar else []
                    bar.advance(len(batch))
            if not rows:
                raise UserError("no text to embed; give texts, --file FILE, or lines on standard input")
            stored = np.memmap(raw, dtype=np.float32, mode="c", shape=(rows, dimension))
            if settings.out.suffix == ".pt":
                write_tensor(part, stored)
            elif settings.out.suffix == ".npy":
                write_array(part, raw, stored)
        if settings.similar:
            for line in list_neighbours(kept_texts, stored, settings.similar):
                show(line)
        return rows
    finally:
        raw.unlink(missing_ok=True)


def open_encoder(model: str | None, precision: Precision, side: Side) -> Encode:
    """Return the function that embeds a batch of texts with a model artifact or a sentence-transformers directory.

    Raises:
        UserError: there is no such model.
    """
    if model and not ID_PATTERN.fullmatch(model):
        if not Path(model).is_dir():
            raise UserError(f"--model {model}: neither a directory nor the id of a model; see `python -m indexer list`")
        from trainer.models.load import load_encoder

        loaded = load_encoder(Path(model))
        encode = loaded.encode_query if side == "query" else loaded.encode_document
        return lambda texts: encode(texts, show_progress_bar=False)
    encoder = Encoder.open(Store("model").resolve(model), precision)
    if side == "document":
        return encoder.encode_documents

    def encode_queries(texts: list[str]) -> Vectors:
        with ThreadPoolExecutor(encoder.cores) as threads:
            return np.stack(list(threads.map(encoder.encode_query, texts)))

    return encode_queries


def read_texts(settings: EmbedSettings, arguments: list[str]) -> tuple[Iterable[str], int | None]:
    """Return the texts of the command line, of the file, or of standard input; and their number, where it is known.

    Raises:
        UserError: texts are given both ways, the file is not readable, or a text is empty.
    """
    if arguments and settings.file:
        raise UserError("--file: texts are given as arguments too; give one or the other")
    if arguments:
        for number, text in enumerate(arguments, start=1):
            if not text.strip():
                raise UserError(f"text {number}: empty; give a text")
        return arguments, len(arguments)
    if settings.file is None:
        return _read_lines(sys.stdin, "standard input"), None
    if settings.file.suffix.lower() == ".txt":
        return _read_file(settings.file), None
    corpus = Corpus.check(str(settings.file), text_column=settings.text_column, title_column="none")
    texts = (text for batch in corpus.batches() for text in batch.column("text").to_pylist())
    return texts, corpus.documents


def list_neighbours(texts: list[str], vectors: Vectors, count: int) -> Iterator[str]:
    """Yield lines: each text, and below it the ``count`` other texts with the largest cosine, nearest first."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(texts), BATCH):
        index.add(unit(vectors[start : start + BATCH]))
    for start in range(0, len(texts), BATCH):
        # One more than `count`: a text is its own nearest neighbour.
        cosines, neighbours = index.search(unit(vectors[start : start + BATCH]), min(count + 1, len(texts)))
        for row, (row_cosines, rows) in enumerate(zip(cosines.tolist(), neighbours.tolist(), strict=True), start):
            yield _shorten(texts[row])
            others = [(other, cosine) for other, cosine in zip(rows, row_cosines, strict=True) if other != row]
            for other, cosine in others[:count]:
                yield f"  {cosine:.3f}  {_shorten(texts[other])}"


class VectorTable:
    """Writes texts and vectors as Parquet; does nothing where ``out`` has another format."""

    def __init__(self, part: Path, out: Path) -> None:
        self._part = part if out.suffix == ".parquet" else None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def add(self, texts: list[str], vectors: Vectors) -> None:
        """Append rows."""
        if self._part is None:
            return
        embeddings = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        table = pa.table({"text": pa.array(texts, pa.string()), "embedding": embeddings})
        self._writer = self._writer or pq.ParquetWriter(self._part, table.schema)
        self._writer.write_table(table)


def write_tensor(part: Path, stored: npt.NDArray[np.float32]) -> None:
    """Write vectors as a float32 tensor; ``torch.load`` reads it with ``weights_only=True``."""
    import torch

    torch.save(torch.from_numpy(stored), part)


def write_array(part: Path, raw: Path, stored: npt.NDArray[np.float32]) -> None:
    """Write the vectors in the file ``raw``, which ``stored`` maps into memory, as a NumPy array."""
    with part.open("wb") as file, raw.open("rb") as vectors:
        header = {"descr": "<f4", "fortran_order": False, "shape": stored.shape}
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(vectors, file)


def _read_file(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from _read_lines(file, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--file {path}: not readable as UTF-8 text; give one text a line") from error


def _read_lines(lines: Iterable[str], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise UserError(f"{name} line {number}: empty; remove it, because every line is a text")
        yield line.strip()


def _shorten(text: str) -> str:
    return " ".join(text.split())[:100]
