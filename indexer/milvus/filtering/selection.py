"""Selection of documents in Milvus: a filter expression, and how many documents pass it."""

from __future__ import annotations

import sys
from functools import cached_property

from indexer.milvus.engine import Engine
from indexer.milvus.filtering.expression import Expression


class MilvusSelection:
    """The documents that pass an expression.

    Args:
        engine: the connection.
        collection: of the documents.
        where: the expression; collections of passages have its fields, too.
    """

    def __init__(self, engine: Engine, collection: str, where: Expression) -> None:
        self._engine, self.collection, self.where = engine, collection, where

    @cached_property
    def count(self) -> int:
        """Number of documents, counted exactly when it is asked for the first time."""
        return self._engine.count(self.collection, self.where)

    @property
    def nbytes(self) -> int:
        """Memory of the expression."""
        return sys.getsizeof(self.where.text) + sum(map(sys.getsizeof, self.where.values.values()))
