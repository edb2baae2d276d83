"""The client: a method for each operation. Written by `make client` from `service/openapi.json`; do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dowse_client import models
from dowse_client.transport import AsyncTransport, Transport, quote


class Dowse(Transport):
    """A client of one service. Close it, or use it in a `with` block."""

    def classify(self, texts: Sequence[str], *, top_k: int | None = None) -> models.ClassifyResponse:
        """Return the labels of texts with calibrated probabilities, from the classifier that was published last.

        Args:
            texts: 1 to 64 texts, of at most 10,000 characters each; tokens beyond the classifier's `max_tokens` are not read
            top_k: number of labels in `probabilities` of each text, the most probable first (default: 10)
        """
        return self._call("POST", "/classify", models.ClassifyResponse, body={"texts": texts, "top_k": top_k})

    def delete_documents(self, id: Sequence[str]) -> models.WriteResponse:
        """Delete documents by id. An id that the index does not have is no error.

        Args:
            id: id of a document
        """
        return self._call("DELETE", "/documents", models.WriteResponse, query={"id": id})

    def put_documents(
        self, documents: Sequence[models.NewDocument] | Sequence[Mapping[str, Any]]
    ) -> models.WriteResponse:
        """Add documents, or replace those with the same ids. They are on disk and searchable when this answers.

        An answer of 429 or 504 means that nothing was written. The vectors are computed first, in several turns of the
        queue. Writing is the last turn, and once it has begun it is completed.

        Args:
            documents: written together: all of them or none
        """
        return self._call("PUT", "/documents", models.WriteResponse, body={"documents": documents})

    def delete_by_filter(self, filter: models.Filter | Mapping[str, Any]) -> models.DeleteResponse:
        """Delete the documents that pass a filter now, all of them or none; of very many the first by their ids.

        Args:
            filter: which documents are deleted; an empty tree means all
        """
        return self._call("POST", "/documents/delete", models.DeleteResponse, body={"filter": filter})

    def fetch_documents(
        self,
        *,
        after: str | None = None,
        filter: models.Filter | Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> models.FetchResponse:
        """Return whole documents: those of some ids, or all that pass a filter, page by page in the order of their ids.

        Args:
            after: go on behind this id: `next` of the answer before, whether it still exists or not
            filter: which documents; all by default
            ids: ids of documents, which come in this order; those that the index does not have are left out
            limit: number of documents; 0 only counts them (default: 100)
        """
        return self._call(
            "POST",
            "/documents/fetch",
            models.FetchResponse,
            body={"after": after, "filter": filter, "ids": ids, "limit": limit},
        )

    def document(self, document_id: str) -> models.DocumentResponse:
        """Return one document with its whole text.

        Args:
            document_id: document id
        """
        return self._call("GET", f"/documents/{quote(document_id)}", models.DocumentResponse)

    def similar_documents(self, document_id: str, *, top_k: int | None = None) -> models.SimilarResponse:
        """Return the documents nearest to a document by cosine; the document itself is left out.

        Args:
            document_id: document id
            top_k: number of results (default: 10)
        """
        return self._call(
            "GET", f"/documents/{quote(document_id)}/similar", models.SimilarResponse, query={"top_k": top_k}
        )

    def feedback(
        self,
        document: str,
        query: str,
        *,
        click: Literal[True] | None = None,
        grade: int | None = None,
        rank: int | None = None,
    ) -> models.FeedbackResponse:
        """Store that a document was opened for a query, or how well it answers. The trainer learns from it.

        Args:
            document: id of a document
            query: the query that was searched
            click: true if the document was opened
            grade: how well the document answers: 0 not at all, 1 a little, 2 well, 3 perfectly
            rank: rank of the document among the results, from 1; for statistics
        """
        return self._call(
            "POST",
            "/feedback",
            models.FeedbackResponse,
            body={"document": document, "query": query, "click": click, "grade": grade, "rank": rank},
        )

    def fill_mask(self, text: str, *, top_k: int | None = None) -> models.FillMaskResponse:
        """Return the most probable words for each mask of a text, with their probabilities.

        Args:
            text: a text with one or more masks, each written as the model's mask token, usually [MASK]
            top_k: number of candidates for each mask (default: 5)
        """
        return self._call("POST", "/fill-mask", models.FillMaskResponse, body={"text": text, "top_k": top_k})

    def info(self) -> models.Info:
        """Return version, index and model, how the index was built, and nDCG@10 of the model and of its base."""
        return self._call("GET", "/info", models.Info)

    def livez(self) -> models.Health:
        """Answer 200 as long as the process runs."""
        return self._call("GET", "/livez", models.Health)

    def metrics(self) -> str:
        """Return metrics in Prometheus' text format: of all workers together, except those of the index.

        Metrics whose names begin with `dowse_index_` are those of the worker that answers. Each follows the index by itself.
        """
        return self._call("GET", "/metrics", str)

    def model_compare(self, first: str, second: str) -> models.CompareResponse:
        """Return the cosine of the contextual vectors of each word that two texts share, and the cosine of the texts.

        Words need a masked-language model, texts the encoder of the live index. What lacks its model is null.

        Args:
            first: a text of at most 64 word pieces
            second: another text, with the same limit
        """
        return self._call("POST", "/model/compare", models.CompareResponse, body={"first": first, "second": second})

    def model_info(self) -> models.ModelInfo:
        """Return which models are published, and for each missing one the command that makes it."""
        return self._call("GET", "/model/info", models.ModelInfo)

    def model_read(
        self,
        text: str,
        *,
        head: int | None = None,
        hide: Sequence[int] | None = None,
        layer: int | None = None,
        top_k: int | None = None,
    ) -> models.ReadResponse:
        """Return a text's word pieces, the candidates for its masked words, and the attention of one head.

        Args:
            text: a text of at most 64 word pieces
            head: head of that layer, from 1 (default: 1)
            hide: numbers of the words that are masked, from 0
            layer: layer whose attention is returned, from 1 (default: 1)
            top_k: number of candidates for each mask (default: 8)
        """
        return self._call(
            "POST",
            "/model/read",
            models.ReadResponse,
            body={"text": text, "head": head, "hide": hide, "layer": layer, "top_k": top_k},
        )

    def queries_json(self, *, days: int | None = None, limit: int | None = None) -> models.QueryReport:
        """Return the most frequent queries, those that found nothing, clicks by rank, and latencies.

        A query counts seconds after it was searched, all workers together.

        Args:
            days: the last days to count, today included (default: 30)
            limit: queries of each list (default: 50)
        """
        return self._call("GET", "/queries.json", models.QueryReport, query={"days": days, "limit": limit})

    def readyz(self) -> models.Health:
        """Answer 200 once an index is open. Before that, and while the service shuts down, answer 503 with the reason."""
        return self._call("GET", "/readyz", models.Health)

    def report(self) -> str:
        """Return the evaluation of the live model against its base: figures, plots, gained and lost queries.

        A browser gets it with a link to the search page, a program as it was published.
        """
        return self._call("GET", "/report", str)

    def report_json(self) -> dict[str, Any]:
        """Return the figures of the report page, for programs."""
        return self._call("GET", "/report.json", dict)

    def search(
        self,
        query: str | None = None,
        *,
        boost: Sequence[models.Boost] | Sequence[Mapping[str, Any]] | None = None,
        diversity: float | None = None,
        explain: bool | None = None,
        facets: Sequence[models.FacetRequest] | Sequence[Mapping[str, Any]] | None = None,
        facets_over: Literal["all", "results"] | None = None,
        fields: Sequence[str] | None = None,
        filter: models.Filter | Mapping[str, Any] | None = None,
        fusion: models.Fusion | Mapping[str, Any] | None = None,
        group_by: str | None = None,
        group_size: int | None = None,
        highlight: bool | None = None,
        min_relevance: float | None = None,
        min_score: float | None = None,
        mode: Literal["hybrid", "dense", "lexical"] | None = None,
        offset: int | None = None,
        prefix: bool | None = None,
        rerank: models.RerankRequest | bool | Mapping[str, Any] | None = None,
        sort: Sequence[models.SortByField | models.SortByDistance] | Sequence[Mapping[str, Any]] | None = None,
        top_k: int | None = None,
        typos: bool | None = None,
    ) -> models.SearchResponse:
        """Rank the documents of the index for a query, or list them where there is none.

        Args:
            query: what to look for, in plain words; empty or left out, all documents that pass the filter are listed, in the order of the corpus or as `sort` says (default: "")
            boost: documents whose scores are raised or lowered among the candidates
            diversity: how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay the same and need not descend (default: 0.0)
            explain: add each leg's score and rank to every result (default: false)
            facets: fields whose values are counted; each field once
            facets_over: what facets count: `all` documents that pass the filter, or of these the `results`: the query's candidates and, but in dense mode, every document that has a word of the query. With `min_score` only candidates that reach it (default: "all")
            fields: metadata columns to return; all by default
            filter: which documents may be returned
            fusion: how the legs are combined; the index has the defaults
            group_by: metadata column of which each value gets at most `group_size` results; documents without a value are not grouped
            group_size: maximum number of results with the same value of `group_by` (default: 1)
            highlight: return the positions of the query's words, and the sentence that is nearest in meaning (default: false)
            min_relevance: leave out results below this relevance; refused where the index has no calibration
            min_score: leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with `lexical` the BM25 score. Fused scores are not comparable between responses
            mode: `dense`: by meaning, scores are cosines; `lexical`: by words, scores are BM25; `hybrid`: both, scores are fused and comparable only within one response (default: "hybrid")
            offset: number of results to skip (default: 0)
            prefix: the last word may be half typed: words that begin so are searched, too. A blank behind it ends it (default: false)
            rerank: order the first results by the published cross-encoder; `true` for the defaults, `false` for the first order. By default hybrid search is re-ranked where the cross-encoder has won its comparison with the live model
            sort: the order of the results, in place of their scores: of the query's candidates or, without a query, of all documents that pass the filter. The first key decides, among equal ones the second; then the rank
            top_k: number of results (default: 10)
            typos: a word that no document has is searched as the words nearest to it in spelling (default: true)
        """
        return self._call(
            "POST",
            "/search",
            models.SearchResponse,
            body={
                "query": query,
                "boost": boost,
                "diversity": diversity,
                "explain": explain,
                "facets": facets,
                "facets_over": facets_over,
                "fields": fields,
                "filter": filter,
                "fusion": fusion,
                "group_by": group_by,
                "group_size": group_size,
                "highlight": highlight,
                "min_relevance": min_relevance,
                "min_score": min_score,
                "mode": mode,
                "offset": offset,
                "prefix": prefix,
                "rerank": rerank,
                "sort": sort,
                "top_k": top_k,
                "typos": typos,
            },
        )

    def search_many(
        self, searches: Sequence[models.SearchRequest] | Sequence[Mapping[str, Any]]
    ) -> models.BatchResponse:
        """Rank the documents of the index for several queries; this costs less than a request for each.

        Args:
            searches: the searches, each like the body of `POST /search`
        """
        return self._call("POST", "/search/batch", models.BatchResponse, body={"searches": searches})

    def search_examples(self) -> models.ExampleQueriesResponse:
        """Return queries that the index answers well, made of the documents that the caller may see."""
        return self._call("GET", "/search/examples", models.ExampleQueriesResponse)

    def search_export(
        self,
        *,
        boost: Sequence[models.Boost] | Sequence[Mapping[str, Any]] | None = None,
        diversity: float | None = None,
        fields: Sequence[str] | None = None,
        filter: models.Filter | Mapping[str, Any] | None = None,
        format: Literal["csv", "jsonl"] | None = None,
        fusion: models.Fusion | Mapping[str, Any] | None = None,
        group_by: str | None = None,
        group_size: int | None = None,
        limit: int | None = None,
        min_relevance: float | None = None,
        min_score: float | None = None,
        mode: Literal["hybrid", "dense", "lexical"] | None = None,
        prefix: bool | None = None,
        query: str | None = None,
        rerank: models.RerankRequest | bool | Mapping[str, Any] | None = None,
        sort: Sequence[models.SortByField | models.SortByDistance] | Sequence[Mapping[str, Any]] | None = None,
        typos: bool | None = None,
    ) -> str:
        """Return the candidates of a query, or all documents that pass the filter where there is none, as a file.

        Args:
            boost: documents whose scores are raised or lowered among the candidates
            diversity: how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay the same and need not descend (default: 0.0)
            fields: the columns, in this order: metadata columns, `id`, `title`, `text` (the whole text), and `rank` and `score` unless metadata columns have these names; by default `id`, `title`, `text` and all metadata
            filter: which documents may be returned
            format: `csv`, or `jsonl`: a JSON object on each line (default: "csv")
            fusion: how the legs are combined; the index has the defaults
            group_by: metadata column of which each value gets at most `group_size` results; documents without a value are not grouped
            group_size: maximum number of results with the same value of `group_by` (default: 1)
            limit: number of documents at most (default: 10000)
            min_relevance: leave out results below this relevance; refused where the index has no calibration
            min_score: leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with `lexical` the BM25 score. Fused scores are not comparable between responses
            mode: `dense`: by meaning, scores are cosines; `lexical`: by words, scores are BM25; `hybrid`: both, scores are fused and comparable only within one response (default: "hybrid")
            prefix: the last word may be half typed: words that begin so are searched, too. A blank behind it ends it (default: false)
            query: what to look for, in plain words; empty or left out, all documents that pass the filter are listed, in the order of the corpus or as `sort` says (default: "")
            rerank: order the first results by the published cross-encoder; `true` for the defaults, `false` for the first order. By default hybrid search is re-ranked where the cross-encoder has won its comparison with the live model
            sort: the order of the results, in place of their scores: of the query's candidates or, without a query, of all documents that pass the filter. The first key decides, among equal ones the second; then the rank
            typos: a word that no document has is searched as the words nearest to it in spelling (default: true)
        """
        return self._call(
            "POST",
            "/search/export",
            str,
            body={
                "boost": boost,
                "diversity": diversity,
                "fields": fields,
                "filter": filter,
                "format": format,
                "fusion": fusion,
                "group_by": group_by,
                "group_size": group_size,
                "limit": limit,
                "min_relevance": min_relevance,
                "min_score": min_score,
                "mode": mode,
                "prefix": prefix,
                "query": query,
                "rerank": rerank,
                "sort": sort,
                "typos": typos,
            },
        )

    def similar(
        self,
        *,
        diversity: float | None = None,
        fields: Sequence[str] | None = None,
        filter: models.Filter | Mapping[str, Any] | None = None,
        group_by: str | None = None,
        group_size: int | None = None,
        highlight: bool | None = None,
        ids: Sequence[str] | None = None,
        min_score: float | None = None,
        negative_ids: Sequence[str] | None = None,
        negative_text: str | None = None,
        offset: int | None = None,
        sort: Sequence[models.SortByField | models.SortByDistance] | Sequence[Mapping[str, Any]] | None = None,
        text: str | None = None,
        top_k: int | None = None,
    ) -> models.ExamplesResponse:
        """Rank documents by similarity to examples: a text and positive documents, minus negative ones.

        The vectors are combined by Rocchio's formula, with the weights 1 (text), 0.75 (positive) and -0.5 (negative). The
        vector of a document is the mean of its passages' vectors.

        Args:
            diversity: how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay the same and need not descend (default: 0.0)
            fields: metadata columns to return; all by default
            filter: which documents may be returned
            group_by: metadata column of which each value gets at most `group_size` results; documents without a value are not grouped
            group_size: maximum number of results with the same value of `group_by` (default: 1)
            highlight: return the positions of the query's words, and the sentence that is nearest in meaning (default: false)
            ids: ids of documents to resemble; they are not among the results
            min_score: leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with `lexical` the BM25 score. Fused scores are not comparable between responses
            negative_ids: ids of documents not to resemble; they are not among the results either
            negative_text: what not to look for, in plain words
            offset: number of results to skip (default: 0)
            sort: the order of the candidates, in place of their scores; see `POST /search`
            text: what to look for, in plain words
            top_k: number of results (default: 10)
        """
        return self._call(
            "POST",
            "/similar",
            models.ExamplesResponse,
            body={
                "diversity": diversity,
                "fields": fields,
                "filter": filter,
                "group_by": group_by,
                "group_size": group_size,
                "highlight": highlight,
                "ids": ids,
                "min_score": min_score,
                "negative_ids": negative_ids,
                "negative_text": negative_text,
                "offset": offset,
                "sort": sort,
                "text": text,
                "top_k": top_k,
            },
        )

    def status_json(self) -> models.Status:
        """Return what is live, all artifacts with verdict and report, live writes, disk, queue and query log."""
        return self._call("GET", "/status.json", models.Status)

    def suggest(self, q: str, *, limit: int | None = None) -> models.SuggestResponse:
        """Return titles that have all words of the text, and one that begins as its last; and past queries that begin so.

        Titles are those of documents that the caller may see. Past queries are those of callers who may see the same documents.

        Args:
            q: what has been typed so far
            limit: number of completions (default: 8)
        """
        return self._call("GET", "/suggest", models.SuggestResponse, query={"q": q, "limit": limit})

    def embeddings(
        self,
        input: str | Sequence[str],
        model: str,
        *,
        dimensions: int | None = None,
        encoding_format: Literal["float", "base64"] | None = None,
        input_type: Literal["query", "document"] | None = None,
        user: str | None = None,
    ) -> models.EmbeddingsResponse:
        """Encode texts with the model of the live index, for clients of OpenAI's API.

        Args:
            input: a text, or up to 2,048 texts; tokens beyond the model's `max_tokens` are not read
            model: id or name of the live model; `GET /v1/models` lists both. A request with the id fails once another model is live; a request with the name then uses that model
            dimensions: length of the vectors: the model's own or, of a Matryoshka model, one that it was trained for
            encoding_format: numbers, or the bytes of 32-bit floats (little-endian) in base64 (default: "float")
            input_type: chooses the model's prompt: a field of Dowse, not of OpenAI (`extra_body` of the client) (default: "document")
            user: accepted for compatibility and ignored
        """
        return self._call(
            "POST",
            "/v1/embeddings",
            models.EmbeddingsResponse,
            body={
                "input": input,
                "model": model,
                "dimensions": dimensions,
                "encoding_format": encoding_format,
                "input_type": input_type,
                "user": user,
            },
        )

    def embedding_models(self) -> models.ModelList:
        """List the live model under its id and under its name."""
        return self._call("GET", "/v1/models", models.ModelList)

    def embedding_model(self, model: str) -> models.Model:
        """Describe the live model by its id or its name.

        Args:
            model: model
        """
        return self._call("GET", f"/v1/models/{quote(model)}", models.Model)

    def rerank(
        self,
        documents: Sequence[str | dict[str, Any]],
        query: str,
        *,
        model: str | None = None,
        return_documents: bool | None = None,
        top_n: int | None = None,
    ) -> models.RerankTextsResponse:
        """Score texts for a query with the live re-ranker; the best come first.

        Args:
            documents: 1 to 1,000 texts, or objects with a `text`; of query and document together only the re-ranker's `max_tokens` are read
            query: what the documents should answer
            model: id or name of the live re-ranker, or nothing for whichever is live; `GET /model/info` has its id
            return_documents: whether results repeat the texts of the documents (default: false)
            top_n: number of results; by default all documents
        """
        return self._call(
            "POST",
            "/v1/rerank",
            models.RerankTextsResponse,
            body={
                "documents": documents,
                "query": query,
                "model": model,
                "return_documents": return_documents,
                "top_n": top_n,
            },
        )


class AsyncDowse(AsyncTransport):
    """The same for asyncio: every method is to be awaited."""

    async def classify(self, texts: Sequence[str], *, top_k: int | None = None) -> models.ClassifyResponse:
        """Return the labels of texts with calibrated probabilities, from the classifier that was published last.

        Args:
            texts: 1 to 64 texts, of at most 10,000 characters each; tokens beyond the classifier's `max_tokens` are not read
            top_k: number of labels in `probabilities` of each text, the most probable first (default: 10)
        """
        return await self._call("POST", "/classify", models.ClassifyResponse, body={"texts": texts, "top_k": top_k})

    async def delete_documents(self, id: Sequence[str]) -> models.WriteResponse:
        """Delete documents by id. An id that the index does not have is no error.

        Args:
            id: id of a document
        """
        return await self._call("DELETE", "/documents", models.WriteResponse, query={"id": id})

    async def put_documents(
        self, documents: Sequence[models.NewDocument] | Sequence[Mapping[str, Any]]
    ) -> models.WriteResponse:
        """Add documents, or replace those with the same ids. They are on disk and searchable when this answers.

        An answer of 429 or 504 means that nothing was written. The vectors are computed first, in several turns of the
        queue. Writing is the last turn, and once it has begun it is completed.

        Args:
            documents: written together: all of them or none
        """
        return await self._call("PUT", "/documents", models.WriteResponse, body={"documents": documents})

    async def delete_by_filter(self, filter: models.Filter | Mapping[str, Any]) -> models.DeleteResponse:
        """Delete the documents that pass a filter now, all of them or none; of very many the first by their ids.

        Args:
            filter: which documents are deleted; an empty tree means all
        """
        return await self._call("POST", "/documents/delete", models.DeleteResponse, body={"filter": filter})

    async def fetch_documents(
        self,
        *,
        after: str | None = None,
        filter: models.Filter | Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> models.FetchResponse:
        """Return whole documents: those of some ids, or all that pass a filter, page by page in the order of their ids.

        Args:
            after: go on behind this id: `next` of the answer before, whether it still exists or not
            filter: which documents; all by default
            ids: ids of documents, which come in this order; those that the index does not have are left out
            limit: number of documents; 0 only counts them (default: 100)
        """
        return await self._call(
            "POST",
            "/documents/fetch",
            models.FetchResponse,
            body={"after": after, "filter": filter, "ids": ids, "limit": limit},
        )

    async def document(self, document_id: str) -> models.DocumentResponse:
        """Return one document with its whole text.

        Args:
            document_id: document id
        """
        return await self._call("GET", f"/documents/{quote(document_id)}", models.DocumentResponse)

    async def similar_documents(self, document_id: str, *, top_k: int | None = None) -> models.SimilarResponse:
        """Return the documents nearest to a document by cosine; the document itself is left out.

        Args:
            document_id: document id
            top_k: number of results (default: 10)
        """
        return await self._call(
            "GET", f"/documents/{quote(document_id)}/similar", models.SimilarResponse, query={"top_k": top_k}
        )

    async def feedback(
        self,
        document: str,
        query: str,
        *,
        click: Literal[True] | None = None,
        grade: int | None = None,
        rank: int | None = None,
    ) -> models.FeedbackResponse:
        """Store that a document was opened for a query, or how well it answers. The trainer learns from it.

        Args:
            document: id of a document
            query: the query that was searched
            click: true if the document was opened
            grade: how well the document answers: 0 not at all, 1 a little, 2 well, 3 perfectly
            rank: rank of the document among the results, from 1; for statistics
        """
        return await self._call(
            "POST",
            "/feedback",
            models.FeedbackResponse,
            body={"document": document, "query": query, "click": click, "grade": grade, "rank": rank},
        )

    async def fill_mask(self, text: str, *, top_k: int | None = None) -> models.FillMaskResponse:
        """Return the most probable words for each mask of a text, with their probabilities.

        Args:
            text: a text with one or more masks, each written as the model's mask token, usually [MASK]
            top_k: number of candidates for each mask (default: 5)
        """
        return await self._call("POST", "/fill-mask", models.FillMaskResponse, body={"text": text, "top_k": top_k})

    async def info(self) -> models.Info:
        """Return version, index and model, how the index was built, and nDCG@10 of the model and of its base."""
        return await self._call("GET", "/info", models.Info)

    async def livez(self) -> models.Health:
        """Answer 200 as long as the process runs."""
        return await self._call("GET", "/livez", models.Health)

    async def metrics(self) -> str:
        """Return metrics in Prometheus' text format: of all workers together, except those of the index.

        Metrics whose names begin with `dowse_index_` are those of the worker that answers. Each follows the index by itself.
        """
        return await self._call("GET", "/metrics", str)

    async def model_compare(self, first: str, second: str) -> models.CompareResponse:
        """Return the cosine of the contextual vectors of each word that two texts share, and the cosine of the texts.

        Words need a masked-language model, texts the encoder of the live index. What lacks its model is null.

        Args:
            first: a text of at most 64 word pieces
            second: another text, with the same limit
        """
        return await self._call(
            "POST", "/model/compare", models.CompareResponse, body={"first": first, "second": second}
        )

    async def model_info(self) -> models.ModelInfo:
        """Return which models are published, and for each missing one the command that makes it."""
        return await self._call("GET", "/model/info", models.ModelInfo)

    async def model_read(
        self,
        text: str,
        *,
        head: int | None = None,
        hide: Sequence[int] | None = None,
        layer: int | None = None,
        top_k: int | None = None,
    ) -> models.ReadResponse:
        """Return a text's word pieces, the candidates for its masked words, and the attention of one head.

        Args:
            text: a text of at most 64 word pieces
            head: head of that layer, from 1 (default: 1)
            hide: numbers of the words that are masked, from 0
            layer: layer whose attention is returned, from 1 (default: 1)
            top_k: number of candidates for each mask (default: 8)
        """
        return await self._call(
            "POST",
            "/model/read",
            models.ReadResponse,
            body={"text": text, "head": head, "hide": hide, "layer": layer, "top_k": top_k},
        )

    async def queries_json(self, *, days: int | None = None, limit: int | None = None) -> models.QueryReport:
        """Return the most frequent queries, those that found nothing, clicks by rank, and latencies.

        A query counts seconds after it was searched, all workers together.

        Args:
            days: the last days to count, today included (default: 30)
            limit: queries of each list (default: 50)
        """
        return await self._call("GET", "/queries.json", models.QueryReport, query={"days": days, "limit": limit})

    async def readyz(self) -> models.Health:
        """Answer 200 once an index is open. Before that, and while the service shuts down, answer 503 with the reason."""
        return await self._call("GET", "/readyz", models.Health)

    async def report(self) -> str:
        """Return the evaluation of the live model against its base: figures, plots, gained and lost queries.

        A browser gets it with a link to the search page, a program as it was published.
        """
        return await self._call("GET", "/report", str)

    async def report_json(self) -> dict[str, Any]:
        """Return the figures of the report page, for programs."""
        return await self._call("GET", "/report.json", dict)

    async def search(
        self,
        query: str | None = None,
        *,
        boost: Sequence[models.Boost] | Sequence[Mapping[str, Any]] | None = None,
        diversity: float | None = None,
        explain: bool | None = None,
        facets: Sequence[models.FacetRequest] | Sequence[Mapping[str, Any]] | None = None,
        facets_over: Literal["all", "results"] | None = None,
        fields: Sequence[str] | None = None,
        filter: models.Filter | Mapping[str, Any] | None = None,
        fusion: models.Fusion | Mapping[str, Any] | None = None,
        group_by: str | None = None,
        group_size: int | None = None,
        highlight: bool | None = None,
        min_relevance: float | None = None,
        min_score: float | None = None,
        mode: Literal["hybrid", "dense", "lexical"] | None = None,
        offset: int | None = None,
        prefix: bool | None = None,
        rerank: models.RerankRequest | bool | Mapping[str, Any] | None = None,
        sort: Sequence[models.SortByField | models.SortByDistance] | Sequence[Mapping[str, Any]] | None = None,
        top_k: int | None = None,
        typos: bool | None = None,
    ) -> models.SearchResponse:
        """Rank the documents of the index for a query, or list them where there is none.

        Args:
            query: what to look for, in plain words; empty or left out, all documents that pass the filter are listed, in the order of the corpus or as `sort` says (default: "")
            boost: documents whose scores are raised or lowered among the candidates
            diversity: how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay the same and need not descend (default: 0.0)
            explain: add each leg's score and rank to every result (default: false)
            facets: fields whose values are counted; each field once
            facets_over: what facets count: `all` documents that pass the filter, or of these the `results`: the query's candidates and, but in dense mode, every document that has a word of the query. With `min_score` only candidates that reach it (default: "all")
            fields: metadata columns to return; all by default
            filter: which documents may be returned
            fusion: how the legs are combined; the index has the defaults
            group_by: metadata column of which each value gets at most `group_size` results; documents without a value are not grouped
            group_size: maximum number of results with the same value of `group_by` (default: 1)
            highlight: return the positions of the query's words, and the sentence that is nearest in meaning (default: false)
            min_relevance: leave out results below this relevance; refused where the index has no calibration
            min_score: leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with `lexical` the BM25 score. Fused scores are not comparable between responses
            mode: `dense`: by meaning, scores are cosines; `lexical`: by words, scores are BM25; `hybrid`: both, scores are fused and comparable only within one response (default: "hybrid")
            offset: number of results to skip (default: 0)
            prefix: the last word may be half typed: words that begin so are searched, too. A blank behind it ends it (default: false)
            rerank: order the first results by the published cross-encoder; `true` for the defaults, `false` for the first order. By default hybrid search is re-ranked where the cross-encoder has won its comparison with the live model
            sort: the order of the results, in place of their scores: of the query's candidates or, without a query, of all documents that pass the filter. The first key decides, among equal ones the second; then the rank
            top_k: number of results (default: 10)
            typos: a word that no document has is searched as the words nearest to it in spelling (default: true)
        """
        return await self._call(
            "POST",
            "/search",
            models.SearchResponse,
            body={
                "query": query,
                "boost": boost,
                "diversity": diversity,
                "explain": explain,
                "facets": facets,
                "facets_over": facets_over,
                "fields": fields,
                "filter": filter,
                "fusion": fusion,
                "group_by": group_by,
                "group_size": group_size,
                "highlight": highlight,
                "min_relevance": min_relevance,
                "min_score": min_score,
                "mode": mode,
                "offset": offset,
                "prefix": prefix,
                "rerank": rerank,
                "sort": sort,
                "top_k": top_k,
                "typos": typos,
            },
        )

    async def search_many(
        self, searches: Sequence[models.SearchRequest] | Sequence[Mapping[str, Any]]
    ) -> models.BatchResponse:
        """Rank the documents of the index for several queries; this costs less than a request for each.

        Args:
            searches: the searches, each like the body of `POST /search`
        """
        return await self._call("POST", "/search/batch", models.BatchResponse, body={"searches": searches})

    async def search_examples(self) -> models.ExampleQueriesResponse:
        """Return queries that the index answers well, made of the documents that the caller may see."""
        return await self._call("GET", "/search/examples", models.ExampleQueriesResponse)

    async def search_export(
        self,
        *,
        boost: Sequence[models.Boost] | Sequence[Mapping[str, Any]] | None = None,
        diversity: float | None = None,
        fields: Sequence[str] | None = None,
        filter: models.Filter | Mapping[str, Any] | None = None,
        format: Literal["csv", "jsonl"] | None = None,
        fusion: models.Fusion | Mapping[str, Any] | None = None,
        group_by: str | None = None,
        group_size: int | None = None,
        limit: int | None = None,
        min_relevance: float | None = None,
        min_score: float | None = None,
        mode: Literal["hybrid", "dense", "lexical"] | None = None,
        prefix: bool | None = None,
        query: str | None = None,
        rerank: models.RerankRequest | bool | Mapping[str, Any] | None = None,
        sort: Sequence[models.SortByField | models.SortByDistance] | Sequence[Mapping[str, Any]] | None = None,
        typos: bool | None = None,
    ) -> str:
        """Return the candidates of a query, or all documents that pass the filter where there is none, as a file.

        Args:
            boost: documents whose scores are raised or lowered among the candidates
            diversity: how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay the same and need not descend (default: 0.0)
            fields: the columns, in this order: metadata columns, `id`, `title`, `text` (the whole text), and `rank` and `score` unless metadata columns have these names; by default `id`, `title`, `text` and all metadata
            filter: which documents may be returned
            format: `csv`, or `jsonl`: a JSON object on each line (default: "csv")
            fusion: how the legs are combined; the index has the defaults
            group_by: metadata column of which each value gets at most `group_size` results; documents without a value are not grouped
            group_size: maximum number of results with the same value of `group_by` (default: 1)
            limit: number of documents at most (default: 10000)
            min_relevance: leave out results below this relevance; refused where the index has no calibration
            min_score: leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with `lexical` the BM25 score. Fused scores are not comparable between responses
            mode: `dense`: by meaning, scores are cosines; `lexical`: by words, scores are BM25; `hybrid`: both, scores are fused and comparable only within one response (default: "hybrid")
            prefix: the last word may be half typed: words that begin so are searched, too. A blank behind it ends it (default: false)
            query: what to look for, in plain words; empty or left out, all documents that pass the filter are listed, in the order of the corpus or as `sort` says (default: "")
            rerank: order the first results by the published cross-encoder; `true` for the defaults, `false` for the first order. By default hybrid search is re-ranked where the cross-encoder has won its comparison with the live model
            sort: the order of the results, in place of their scores: of the query's candidates or, without a query, of all documents that pass the filter. The first key decides, among equal ones the second; then the rank
            typos: a word that no document has is searched as the words nearest to it in spelling (default: true)
        """
        return await self._call(
            "POST",
            "/search/export",
            str,
            body={
                "boost": boost,
                "diversity": diversity,
                "fields": fields,
                "filter": filter,
                "format": format,
                "fusion": fusion,
                "group_by": group_by,
                "group_size": group_size,
                "limit": limit,
                "min_relevance": min_relevance,
                "min_score": min_score,
                "mode": mode,
                "prefix": prefix,
                "query": query,
                "rerank": rerank,
                "sort": sort,
                "typos": typos,
            },
        )

    async def similar(
        self,
        *,
        diversity: float | None = None,
        fields: Sequence[str] | None = None,
        filter: models.Filter | Mapping[str, Any] | None = None,
        group_by: str | None = None,
        group_size: int | None = None,
        highlight: bool | None = None,
        ids: Sequence[str] | None = None,
        min_score: float | None = None,
        negative_ids: Sequence[str] | None = None,
        negative_text: str | None = None,
        offset: int | None = None,
        sort: Sequence[models.SortByField | models.SortByDistance] | Sequence[Mapping[str, Any]] | None = None,
        text: str | None = None,
        top_k: int | None = None,
    ) -> models.ExamplesResponse:
        """Rank documents by similarity to examples: a text and positive documents, minus negative ones.

        The vectors are combined by Rocchio's formula, with the weights 1 (text), 0.75 (positive) and -0.5 (negative). The
        vector of a document is the mean of its passages' vectors.

        Args:
            diversity: how far results similar to an earlier one move down (maximal marginal relevance): 0 not at all, 1 regardless of relevance. Scores stay the same and need not descend (default: 0.0)
            fields: metadata columns to return; all by default
            filter: which documents may be returned
            group_by: metadata column of which each value gets at most `group_size` results; documents without a value are not grouped
            group_size: maximum number of results with the same value of `group_by` (default: 1)
            highlight: return the positions of the query's words, and the sentence that is nearest in meaning (default: false)
            ids: ids of documents to resemble; they are not among the results
            min_score: leave out results below this score: with `dense` and `hybrid` the cosine of the dense leg, with `lexical` the BM25 score. Fused scores are not comparable between responses
            negative_ids: ids of documents not to resemble; they are not among the results either
            negative_text: what not to look for, in plain words
            offset: number of results to skip (default: 0)
            sort: the order of the candidates, in place of their scores; see `POST /search`
            text: what to look for, in plain words
            top_k: number of results (default: 10)
        """
        return await self._call(
            "POST",
            "/similar",
            models.ExamplesResponse,
            body={
                "diversity": diversity,
                "fields": fields,
                "filter": filter,
                "group_by": group_by,
                "group_size": group_size,
                "highlight": highlight,
                "ids": ids,
                "min_score": min_score,
                "negative_ids": negative_ids,
                "negative_text": negative_text,
                "offset": offset,
                "sort": sort,
                "text": text,
                "top_k": top_k,
            },
        )

    async def status_json(self) -> models.Status:
        """Return what is live, all artifacts with verdict and report, live writes, disk, queue and query log."""
        return await self._call("GET", "/status.json", models.Status)

    async def suggest(self, q: str, *, limit: int | None = None) -> models.SuggestResponse:
        """Return titles that have all words of the text, and one that begins as its last; and past queries that begin so.

        Titles are those of documents that the caller may see. Past queries are those of callers who may see the same documents.

        Args:
            q: what has been typed so far
            limit: number of completions (default: 8)
        """
        return await self._call("GET", "/suggest", models.SuggestResponse, query={"q": q, "limit": limit})

    async def embeddings(
        self,
        input: str | Sequence[str],
        model: str,
        *,
        dimensions: int | None = None,
        encoding_format: Literal["float", "base64"] | None = None,
        input_type: Literal["query", "document"] | None = None,
        user: str | None = None,
    ) -> models.EmbeddingsResponse:
        """Encode texts with the model of the live index, for clients of OpenAI's API.

        Args:
            input: a text, or up to 2,048 texts; tokens beyond the model's `max_tokens` are not read
            model: id or name of the live model; `GET /v1/models` lists both. A request with the id fails once another model is live; a request with the name then uses that model
            dimensions: length of the vectors: the model's own or, of a Matryoshka model, one that it was trained for
            encoding_format: numbers, or the bytes of 32-bit floats (little-endian) in base64 (default: "float")
            input_type: chooses the model's prompt: a field of Dowse, not of OpenAI (`extra_body` of the client) (default: "document")
            user: accepted for compatibility and ignored
        """
        return await self._call(
            "POST",
            "/v1/embeddings",
            models.EmbeddingsResponse,
            body={
                "input": input,
                "model": model,
                "dimensions": dimensions,
                "encoding_format": encoding_format,
                "input_type": input_type,
                "user": user,
            },
        )

    async def embedding_models(self) -> models.ModelList:
        """List the live model under its id and under its name."""
        return await self._call("GET", "/v1/models", models.ModelList)

    async def embedding_model(self, model: str) -> models.Model:
        """Describe the live model by its id or its name.

        Args:
            model: model
        """
        return await self._call("GET", f"/v1/models/{quote(model)}", models.Model)

    async def rerank(
        self,
        documents: Sequence[str | dict[str, Any]],
        query: str,
        *,
        model: str | None = None,
        return_documents: bool | None = None,
        top_n: int | None = None,
    ) -> models.RerankTextsResponse:
        """Score texts for a query with the live re-ranker; the best come first.

        Args:
            documents: 1 to 1,000 texts, or objects with a `text`; of query and document together only the re-ranker's `max_tokens` are read
            query: what the documents should answer
            model: id or name of the live re-ranker, or nothing for whichever is live; `GET /model/info` has its id
            return_documents: whether results repeat the texts of the documents (default: false)
            top_n: number of results; by default all documents
        """
        return await self._call(
            "POST",
            "/v1/rerank",
            models.RerankTextsResponse,
            body={
                "documents": documents,
                "query": query,
                "model": model,
                "return_documents": return_documents,
                "top_n": top_n,
            },
        )
