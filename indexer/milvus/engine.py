"""Connection to Milvus: every call has a time limit, and every error becomes one line that says why.

A connection that has failed stays so: a server that comes back may have lost rows. Whoever goes on opens a new one, and
makes sure first that nothing is missing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from indexer.errors import StoreError, first_line
from indexer.milvus.filtering.expression import Expression

CALL_SECONDS = 5.0
"""Longest time that a search may take; a request has ten seconds by default."""
WRITE_SECONDS = 300.0
"""Longest time that a call of the indexer may take."""
LOAD_SECONDS = 6 * 3600.0
"""Longest time until the rows of a collection are stored, and in memory."""
INDEX_PAUSE = 0.5
NOT_FOUND = {100, 1600}
"""Milvus's codes for a collection, and for an alias, that does not exist."""
REFUSED = {6, 1100}
"""Codes for an expression or a parameter that Milvus does not understand; the connection is sound."""
NUMBER = "number"
"""Name of the primary key in collections of documents and of passages."""
MAX_HITS = 16_384
"""Most hits that Milvus returns for one search."""
PAGE = 10_000
"""Rows that are read at once."""
GRPC_OPTIONS = {
    # Each connection is one of its own: else a new one would wait, up to two minutes, as one that has failed does.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.max_reconnect_backoff_ms": 1_000,
    # Milvus Lite ends connections that are asked for signs of life while nothing is called.
    "grpc.keepalive_permit_without_calls": 0,
}
LITE = "milvus_lite"
"""How the version of the local form begins."""
EVERYTHING = Expression("")

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs each error with several tracebacks


class Engine:
    """A client of Milvus. Safe to use from several threads.

    Args:
        uri: address of a server or cluster, or path of a file.
        token: user and password; None for none.
        seconds: longest time of a call.

    Attributes:
        fault: why the connection has failed; empty where it has not.
    """

    def __init__(self, uri: str, token: str | None = None, seconds: float = CALL_SECONDS) -> None:
        self.uri, self.fault = uri, ""
        self._token, self._seconds = token, seconds
        self._lock = threading.Lock()
        self._client: MilvusClient | None = None
        self._literal = False

    def call(self, method: str, *arguments: Any, where: Expression | None = None, **options: Any) -> Any:
        """Call a method of pymilvus's client, with the filter ``where``.

        Raises:
            StoreError: Milvus is away, too slow, or refuses the call, or this connection has failed before.
        """
        if self.fault:
            raise StoreError(self.fault)
        try:
            client = self._connected()
            if where is not None and self._literal:
                options["filter"] = where.as_literals()
            elif where is not None:
                options |= {"filter": where.text, "filter_params": dict(where.values)}
            return getattr(client, method)(*arguments, **{"timeout": self._seconds, **options})
        except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError, OSError) as error:
            raise self._explained(error) from error

    def close(self) -> None:
        """Close the connection; further calls raise `StoreError`."""
        self.fault = self.fault or f"the connection to Milvus at {self.uri} was closed"
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def count(self, collection: str, where: Expression = EVERYTHING) -> int:
        """Return the exact number of rows in a collection, or of those that pass a filter."""
        return int(self.query(collection, where, ["count(*)"])[0]["count(*)"])

    def query(self, collection: str, where: Expression, fields: list[str], **options: Any) -> list[dict[str, Any]]:
        """Return fields of the rows that pass a filter."""
        options = {"output_fields": fields, "consistency_level": "Strong", **options}
        return list(self.call("query", collection, where=where, **options))

    def search(
        self,
        collection: str,
        field: str,
        vectors: list[Any],
        limit: int,
        where: Expression = EVERYTHING,
        *,
        probes: int = 0,
    ) -> list[list[tuple[int, float]]]:
        """Return for each of several vectors the ``limit`` rows of largest inner product: number and product.

        Where the vectors are in lists, the nearest ``probes`` lists are read.
        """
        parameters = {"metric_type": "IP"} | ({"params": {"nprobe": probes}} if probes else {})
        found = self.call(
            "search",
            collection,
            data=vectors,
            anns_field=field,
            limit=limit,
            where=where,
            output_fields=[NUMBER],
            search_params=parameters,
            consistency_level="Strong",
        )
        return [[(int(hit[NUMBER]), float(hit["distance"])) for hit in hits] for hits in found]

    def pages(self, collection: str, filter_: str, fields: list[str], limit: int) -> Iterator[list[dict[str, Any]]]:
        """Yield fields of the rows that pass a filter without values, in the order of their keys, many at a time."""
        options: dict[str, Any] = {"batch_size": PAGE, "limit": limit, "filter": filter_, "output_fields": fields}
        iterator = self.call("query_iterator", collection, **options)
        try:
            while rows := iterator.next():
                yield list(rows)
        except (MilvusException, grpc.RpcError, OSError) as error:
            raise self._explained(error) from error
        finally:
            iterator.close()

    def wait_for_index(self, collection: str, field: str) -> None:
        """Return when the index of a field has all rows: until then, others would be compared one by one.

        Raises:
            StoreError: it takes longer than `LOAD_SECONDS`.
        """
        deadline = time.monotonic() + LOAD_SECONDS
        while True:
            state = self.call("describe_index", collection, field)
            if state and state["state"] == "Finished" and not state["pending_index_rows"]:
                return
            if time.monotonic() > deadline:
                raise StoreError(f"Milvus at {self.uri} has not made the index of {collection} within {LOAD_SECONDS} s")
            time.sleep(INDEX_PAUSE)

    def alias_target(self, alias: str) -> str | None:
        """Return the collection that an alias names, or None."""
        try:
            return str(self.call("describe_alias", alias)["collection_name"])
        except StoreError as error:
            if getattr(error.__cause__, "code", None) not in NOT_FOUND:
                raise
            self.fault = ""
            return None

    def _connected(self) -> MilvusClient:
        with self._lock:
            if self._client is None:
                client = MilvusClient(
                    uri=self.uri,
                    token=self._token or "",
                    timeout=self._seconds,
                    dedicated=True,
                    grpc_options=GRPC_OPTIONS,
                )
                # The local form does not know expressions with bound values.
                self._literal = client.get_server_version(timeout=self._seconds).startswith(LITE)
                self._client = client
            return self._client

    def _explained(self, error: Exception) -> StoreError:
        code = getattr(error, "code", None)
        said = first_line(error).removeprefix("<MilvusException: ").rstrip(">")
        if getattr(error, "is_input_error", False) or code in REFUSED:
            return StoreError(f"Milvus at {self.uri} refuses the call ({said})")
        what = "has lost what was asked for" if code in NOT_FOUND else "does not answer"
        self.fault = f"Milvus at {self.uri} {what} ({said})"
        return StoreError(self.fault)
