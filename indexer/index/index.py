"""An opened index artifact: documents, passages and the search legs, memory-mapped.

`Index` is the artifact as it was built, without live writes; `indexer.live.overlay.LiveIndex` puts them over it.
`indexer.index.restricted.RestrictedIndex` is a view of either that holds only some of the documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.artifacts.manifest import Manifest, read_manifest
from indexer.artifacts.store import Store
from indexer.artifacts.verified import verify_once
from indexer.errors import UserError
from indexer.index.approximate.leg import ApproximateDense, open_dense
from indexer.index.arrow import ArrowTable, SortedStrings
from indexer.index.document_mask import DocumentMask, Mask, Rows
from indexer.index.exact import ExactValues, ids_are_values
from indexer.index.legs import DenseLeg, LexicalLeg, SparseLeg
from indexer.index.lexical.fields import FOLDER
from indexer.index.lexical.search import LexicalIndex
from indexer.index.passage_search import PassageSearch
from indexer.index.served import Document, Neighbours, ServedIndex
from indexer.index.sparse import FOLDER as SPARSE_FOLDER
from indexer.index.sparse import SparseIndex
from indexer.index.terms.column_names import parse_weights
from indexer.index.terms.rules import Rules, rules_of_index
from indexer.inference.encoder import Encoder, Vectors
from indexer.inference.passages import Passage, PassageMaker
from indexer.inference.sparse_encoder import SparseEncoder

DOCUMENTS = "documents"
"""Folder of the documents' shards; an index of before December 2026 has one file, `documents.arrow`."""
PASSAGES = "passages.arrow"
IDS = "ids.arrow"
DENSE_MAP = "dense_map.npy"
ROWS_PER_BATCH = 1024
"""Documents in a record batch."""


@dataclass(frozen=True)
class Contents:
    """What an index holds: documents, passages and its legs.

    Attributes:
        documents: id, title, text and, where there are other columns, metadata of each document.
        passages: of each passage the row of its document, its first character, and the one after its last.
        ids: the ids of the documents as built, sorted, each with its row.
        dense: vectors of the passages.
        lexical: words of the documents.
        document_of: row of the document of each passage, shape (passages,), ascending.
        first_passage: row of the first passage of each document, and one past the last, shape (documents + 1,).
        passage_maker: what cut the documents into passages.
        exact: documents by their ids and by the values of the exact columns.
        rules: synonyms and stop words of queries.
        dense_map: matrix by which a query's vector is multiplied in dense mode, shape (dimension, dimension); None for none.
        sparse: learned weights of the documents' terms; None for an index without this leg.
    """

    documents: ArrowTable
    passages: ArrowTable
    ids: ArrowTable
    dense: DenseLeg
    lexical: LexicalLeg
    document_of: Rows
    first_passage: Rows
    passage_maker: PassageMaker
    exact: ExactValues
    rules: Rules
    dense_map: Vectors | None = None
    sparse: SparseLeg | None = None

    @cached_property
    def bounds(self) -> tuple[Rows, Rows]:
        """First character of each passage in its document's text, and the one after its last, each (passages,)."""
        return self.passages.numbers("start"), self.passages.numbers("end")

    @cached_property
    def sorted_ids(self) -> SortedStrings:
        """The ids of the documents as built, as UTF-8."""
        return SortedStrings(self.ids, "id")

    @cached_property
    def id_rank(self) -> npt.NDArray[np.int64]:
        """Rank of each document's id among all ids, shape (documents,)."""
        rows = self.ids.numbers("row")
        rank = np.empty_like(rows)
        rank[rows] = np.arange(len(rows))
        return rank


class Index(ServedIndex):
    """An opened index artifact: everything that a search needs, in files of this machine.

    Args:
        folder: of the artifact.
        manifest: of the artifact.
        encoder: of the model that the index pins, or of another one under evaluation.
        contents: documents, passages and legs.
    """

    def __init__(self, folder: Path, manifest: Manifest, encoder: Encoder, contents: Contents) -> None:
        self.folder = folder
        self.manifest = manifest
        self.encoder = encoder
        self.contents = contents
        self.dense, self.lexical, self.sparse = contents.dense, contents.lexical, contents.sparse
        self.document_of, self.first_passage = contents.document_of, contents.first_passage

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True, cores: int | None = None, query_cache_bytes: int = 0) -> Index:
        """Open the index in directory ``folder``.

        Args:
            folder: an index artifact in a data directory, which holds its model too.
            verify: check every file of index and model against its SHA-256 before it is opened, unless this machine has
                done so before and nothing has written to the file since.
            cores: how many queries the encoder encodes in parallel; by default one on each core.
            query_cache_bytes: memory for the vectors of recent queries; by default none are cached.

        Raises:
            UserError: a file is missing or was altered, or a model that the index pins is absent.
        """
        manifest = verify_once(folder) if verify else read_manifest(folder)
        models = Store("model", folder.parent.parent)
        encoder = open_encoder(models, manifest, verify=verify, cores=cores, query_cache_bytes=query_cache_bytes)
        return cls.load(folder, manifest, encoder, _open_sparse(models.root.parent, manifest, cores, verify=verify))

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, encoder: Encoder, sparse: SparseEncoder | None = None) -> Index:
        """Open the files of an index, which need not be published yet.

        Args:
            folder: with the files that a build writes.
            manifest: of the files, as far as it is known.
            encoder: of the model that made the vectors.
            sparse: the model of the learned-sparse leg; None for an index without one.

        Raises:
            UserError: files do not belong together.
        """
        passages = ArrowTable.open(folder / PASSAGES)
        documents, ids = open_documents(folder), ArrowTable.open(folder / IDS)
        document_of = passages.numbers("document")
        contents = Contents(
            documents=documents,
            passages=passages,
            ids=ids,
            dense=open_dense(folder, manifest.config),
            lexical=LexicalIndex.open(
                folder / FOLDER,
                manifest.config["language"],
                manifest.config.get("words", 1),
                parse_weights(manifest.config.get("search_columns")),
            ),
            exact=ExactValues(folder, ids if ids_are_values(manifest.config.get("ids", "")) else None),
            rules=rules_of_index(folder),
            document_of=document_of,
            first_passage=np.searchsorted(document_of, np.arange(len(documents) + 1)),
            passage_maker=PassageMaker.of_config(encoder, manifest.config),
            dense_map=np.load(folder / DENSE_MAP, allow_pickle=False) if manifest.config.get("dense_map") else None,
            sparse=None if sparse is None else SparseIndex.open(folder / SPARSE_FOLDER, sparse),
        )
        index = cls(folder, manifest, encoder, contents)
        index.check()
        return index

    @classmethod
    def of(cls, index: ServedIndex) -> Index:
        """Return an index whose files are on this machine as what it is; training and measuring need them.

        Raises:
            TypeError: it is an index of another store.
        """
        if not isinstance(index, Index):
            raise TypeError(f"{type(index).__name__} has no files of an index on this machine")
        return index

    def with_encoder(self, encoder: Encoder, vectors: DenseLeg, dense_map: Vectors | None = None) -> Index:
        """Return an index of the same documents with another encoder and its ``vectors`` of the same passages.

        With a ``dense_map``, dense mode searches by query vectors that it maps.

        This is how a model is evaluated before an index of it is built: with the code that would serve it.

        Raises:
            UserError: the vectors do not fit the passages, or not the encoder.
        """
        other = Index(self.folder, self.manifest, encoder, replace(self.contents, dense=vectors, dense_map=dense_map))
        other.check()
        return other

    def searched_exactly(self) -> Index:
        """Return this index with a dense leg that compares every vector, whatever kind it was built as.

        Evaluations use it: they compare models, and not what the codes of two indexes happen to miss.
        """
        if not isinstance(self.dense, ApproximateDense):
            return self
        return Index(self.folder, self.manifest, self.encoder, replace(self.contents, dense=self.dense.exact))

    def __len__(self) -> int:
        """Return the number of documents that a search can return."""
        return self.manifest.counts["documents"]

    @property
    def rows(self) -> int:
        """Number of document rows, including documents that no search can return any more."""
        return len(self.first_passage) - 1

    @property
    def passages(self) -> int:
        """Number of passages of the documents that a search can return."""
        return len(self.dense) if self.visible is None else self.visible.passage_count

    @property
    def generation(self) -> str:
        """Index id and number of the last visible write: what an answer came from."""
        return f"{self.manifest.id}.{self.folded}"

    @property
    def schema(self) -> pa.Schema:
        """The fields of a document: id, title, text and, where there are other columns, metadata."""
        return self.contents.documents.schema

    @property
    def visible(self) -> DocumentMask | None:
        """The documents that searches may return at all; None for all of them."""
        return None

    @property
    def is_restricted(self) -> bool:
        """Whether for its caller only some of the documents exist; deleted ones exist for nobody."""
        return False

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one of `columns`, a value for each document in the order of the rows; it is memory-mapped."""
        return self.contents.documents.column(*(["id"] if name == "id" else ["metadata", name]))

    def allowed(self, mask: Mask) -> DocumentMask:
        """Return the documents of ``mask``, shape (documents,), without those that searches may not return."""
        allowed = DocumentMask(mask, self.first_passage)
        return allowed if self.visible is None else allowed & self.visible

    @property
    def id_rank(self) -> npt.NDArray[np.int64]:
        """Rank of each document's id among all ids, shape (documents,): breaks ties between equal scores."""
        return self.contents.id_rank

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the documents that searches can return, with the fields of `schema`, in the order of their rows."""
        first = 0
        for batch in self.contents.documents.batches:
            mask = None if self.visible is None else self.visible.mask[first : first + batch.num_rows]
            yield batch if mask is None else batch.filter(pa.array(mask))
            first += batch.num_rows

    def row_of(self, document_id: str) -> int | None:
        """Return the row of the document with this id, or None."""
        return self.position_of(document_id)[1]

    def position_of(self, document_id: str) -> tuple[int, int | None]:
        """Return where an id is, or would be, among the sorted ids of the built index; and its row, or None."""
        column = self.contents.sorted_ids
        position = column.find(document_id.encode())
        if position == len(column) or column[position] != document_id.encode():
            return position, None
        return position, int(self.contents.ids.row(position, ["row"])["row"])

    def follows(self, document_id: str) -> Mask:
        """Return which documents have an id that sorts behind this one, whether it exists or not, shape (documents,)."""
        position, row = self.position_of(document_id)
        behind: Mask = self.id_rank >= position + (row is not None)
        return behind

    def exact_rows(self, query: str, allowed: DocumentMask | None = None) -> Rows:
        """Return the rows of the ``allowed`` documents that have the query as their id, or as an exact value."""
        rows = np.array(self._exact_rows(query), dtype=np.int64)
        return rows if allowed is None else rows[allowed.mask[rows]]

    def _exact_rows(self, query: str) -> list[int]:
        return self.contents.exact.rows(query)

    @property
    def rules(self) -> Rules:
        """Synonyms and stop words of queries with which the index was built."""
        return self.contents.rules

    def document(self, row: int) -> Document:
        """Return the document in ``row``."""
        documents = self.contents.documents
        values = documents.row(row, documents.names)
        return Document(values["id"], values["title"], values["text"], values.get("metadata") or {})

    def documents(self, rows: Rows) -> list[Document]:
        """Return the documents in ``rows``, in their order."""
        return [self.document(row) for row in rows.tolist()]

    def first_document(self) -> Document | None:
        """Return the first document that a search can return; None where there is none."""
        rows = range(self.rows) if self.visible is None else self.visible.rows
        return self.document(int(rows[0])) if len(rows) else None

    def id_ranks(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Return numbers that sort as the ids of these documents do, shape (len(rows),)."""
        return self.id_rank[rows]

    @property
    def dense_map(self) -> Vectors | None:
        """Matrix by which a query's vector is multiplied in dense mode, shape (dimension, dimension); None for none."""
        return self.contents.dense_map

    def nearest_documents(self, vector: Vectors, depth: int, allowed: DocumentMask | None = None) -> Neighbours:
        """Return the ``depth`` documents nearest to a vector; of the ``allowed`` ones alone where they are given."""
        return self._passage_search.nearest(vector, depth, allowed)

    def nearest_of_many(self, vectors: Vectors, depth: int) -> list[Neighbours]:
        """Return what `nearest_documents` returns for each of several vectors, shape (vectors, dimension)."""
        return self._passage_search.nearest_of_many(vectors, depth)

    def best_passages(self, vector: Vectors, rows: Rows) -> tuple[Vectors, Rows]:
        """Return cosine and row of the best passage of each document of ``rows``, both of shape (len(rows),)."""
        return self._passage_search.best(vector, rows)

    def sample(self, count: int) -> Rows:
        """Return at most ``count`` passages from all over the documents that can be searched, evenly spaced."""
        return self._passage_search.sample(count, self.visible)

    def passage_scores(self, vector: Vectors, passages: Rows) -> Vectors:
        """Return the cosine of a vector to each of ``passages``, shape (len(passages),)."""
        return self.dense.scores(vector, passages)

    def passage_vectors(self, rows: Rows) -> list[Vectors]:
        """Return for each document of ``rows`` the vectors of its passages, shape (passages, dimension)."""
        return [self.dense.vectors(passages) for passages in self.passages_of_documents(rows)]

    def passages_of_documents(self, rows: Rows) -> list[Rows]:
        """Return for each document of ``rows`` its passages, in their order."""
        bounds = zip(self.first_passage[rows].tolist(), self.first_passage[rows + 1].tolist(), strict=True)
        return [np.arange(first, end) for first, end in bounds]

    def offsets(self, passages: Rows) -> list[tuple[int, int]]:
        """Return the character offsets of each passage in the text of its document, the end excluded."""
        return [self.passage_offsets(passage) for passage in passages.tolist()]

    def passage_offsets(self, passage: int) -> tuple[int, int]:
        """Return the character offsets of a passage in the text of its document, the end excluded."""
        starts, ends = self.contents.bounds
        return int(starts[passage]), int(ends[passage])

    def passage_texts(self, row: int) -> list[str]:
        """Return what the encoder was given for each passage of the document in ``row``."""
        document = self.document(row)
        passages = range(int(self.first_passage[row]), int(self.first_passage[row + 1]))
        bounds = [Passage(*self.passage_offsets(passage)) for passage in passages]
        maker = self.contents.passage_maker
        return maker.encoder_inputs(maker.head(document.title, document.metadata), document.text, bounds)

    @cached_property
    def _passage_search(self) -> PassageSearch:
        return PassageSearch(self.dense, self.document_of, self.first_passage, len(self))

    def check(self) -> None:
        """Refuse files that do not belong together, even if their checksums are right.

        Raises:
            UserError: numbers of documents or of passages differ, or dimensions do.
        """
        counts = {
            "documents": (
                len(self.contents.documents),
                len(self.contents.ids),
                len(self.lexical),
                len(self if self.sparse is None else self.sparse),
                len(self),
            ),
            "passages": (len(self.contents.passages), len(self.dense), self.manifest.counts["passages"]),
            "dimension": (self.dense.dimension, self.encoder.contract.dimension),
        }
        for name, numbers in counts.items():
            if len(set(numbers)) > 1:
                raise UserError(f"index {self.manifest.id}: {name} differ ({numbers}); build it again with --force")


def open_encoder(
    models: Store, manifest: Manifest, *, verify: bool = True, cores: int | None = None, query_cache_bytes: int = 0
) -> Encoder:
    """Open the encoder that an index pins; the arguments are those of `Index.open`.

    Raises:
        UserError: the model is absent, or was altered.
    """
    model = models.path(manifest.parents["model"])
    contract = (models.verify_once(model.name) if verify else read_manifest(model)).contract
    precision = manifest.config.get("query_precision") or manifest.config["precision"]
    query_encoder = manifest.config.get("query_encoder", "full")
    return Encoder(model, contract, precision, cores, query_cache_bytes, query_encoder=query_encoder)


def open_documents(folder: Path) -> ArrowTable:
    """Map the documents of the index in ``folder`` into memory."""
    shards = folder / DOCUMENTS
    return ArrowTable.open(shards if shards.is_dir() else shards.with_suffix(".arrow"))


def _open_sparse(data: Path, manifest: Manifest, cores: int | None, *, verify: bool) -> SparseEncoder | None:
    """Open the learned-sparse model that an index pins, where it has such a leg."""
    name = manifest.parents.get("sparse")
    if name is None:
        return None
    models = Store("sparse", data)
    if verify:
        models.verify_once(name)
    return SparseEncoder.open(models.path(name), cores)
