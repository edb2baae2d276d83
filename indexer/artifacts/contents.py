"""What each kind of artifact contains: its files, and the names in `config`, `counts` and `metrics` of its manifest.

Nothing is computed from these tables. The reference of the documentation is generated from them, and a test compares
them with artifacts that were really published.
"""

from __future__ import annotations

from indexer.artifacts.manifest import Kind

Descriptions = dict[str, str]
"""Name → what it is. A name of a file may end in `/`, for everything below a folder."""

_TRANSFORMERS = {
    "config.json": "the architecture, in the format of transformers",
    "model.safetensors": "the weights",
    "tokenizer.json": "the tokenizer",
    "tokenizer_config.json": "the tokenizer's settings",
}

FILES: dict[Kind, Descriptions] = {
    "model": _TRANSFORMERS
    | {
        "modules.json": "the modules of sentence-transformers, in their order",
        "config_sentence_transformers.json": "prompts and similarity function of sentence-transformers",
        "sentence_bert_config.json": "the longest input",
        "1_Pooling/": "how token vectors become one",
        "2_Normalize/": "brings vectors to unit length; the number is the module's place",
        "2_Dense/": "a head, a cut of the vectors, or the learned map of a tuned model, as a module",
        "onnx/model.onnx": "the encoder as a graph, which indexer and service run without torch",
        "onnx/model.onnx.data": "its weights",
        "onnx/query.onnx": "the small query encoder as a graph; of a model that has one",
        "onnx/query.onnx.data": "its weights",
        "query/": "another model that encodes the queries, of a model of `trainer bridge`: its graph, which ends in the map, "
        "its tokenizer, its model card, and `contract.json`, what it says of its inputs",
        "onnx/model_int8.onnx": "the encoder with 8-bit weights; absent where its vectors differ too much",
        "README.md": "model card: the base's own, or that of a tuned model",
        "report/report.html": "report of a tuned model, as a page",
        "report/report.json": "the same for programs",
        "map.npy": "the learned map from the base model's vectors to the tuned model's; "
        "absent where the encoder's own layers were trained",
    },
    "index": {
        "vectors.faiss": "the passages' full vectors",
        "codes.faiss": "their codes, by which a search finds passages; of an index whose dense kind is not `flat`",
        "passages.arrow": "of each passage: its document, where it begins and ends in the text, and the hash of its text",
        "documents/": "ids, titles, texts and metadata, in shards; a shard of an earlier index is linked where it is the same",
        "ids.arrow": "the ids in their order, with the row of each",
        "exact.arrow": "values of the exact columns in their order, and ids that are compared in another form, with their "
        "rows; of an index that has such",
        "synonyms.txt": "copy of the file that `--synonyms` named, where there was one",
        "stop_words.txt": "copy of the file that `--stop-words` named, where there was one",
        "keys.b16": "the hashes of the passages' texts in their order, by which a later build finds vectors",
        "keys.i32": "the passage of each",
        "weights_sample.npy": "digests of the documents on which the weights of the legs were estimated; of an index whose "
        "weights were",
        "relevance_sample.npy": "digests of the documents of which the calibration of relevance was made; of an index that "
        "has made it, or has taken it over",
        "lexical/": "the BM25 index of tantivy",
        "sparse/": "the learned-sparse leg: postings of its terms, and the vectors that they are made from; of an index "
        "that has one",
        "rejects.jsonl": "bad rows that `--skip-bad-rows` left out, with their reasons",
    },
    "masked": _TRANSFORMERS
    | {
        "onnx/reader.onnx": "the model as a graph, with the weights of its attention among the outputs",
        "onnx/reader.onnx.data": "its weights",
        "report/": "report of the pre-training, where there is one",
    },
    "classifier": {
        "onnx/model.onnx": "the classifier as a graph from token ids to logits",
        "onnx/model.onnx.data": "its weights",
        "tokenizer.json": "the tokenizer",
        "classifier.json": "labels, calibration, and what an input looks like",
        "training.json": "how it was trained",
        "report/report.html": "report on the test rows, as a page",
        "report/report.json": "the same for programs",
    },
    "reranker": _TRANSFORMERS
    | {
        "onnx/model.onnx": "the cross-encoder as a graph",
        "onnx/model.onnx.data": "its weights",
    },
    "sparse": {
        "onnx/model.onnx": "the side of documents as a graph from token ids to the weights of all terms",
        "onnx/model.onnx.data": "its weights",
        "tokenizer.json": "the tokenizer of documents",
        "tokenizer_config.json": "its settings",
        "query/tokenizer.json": "the tokenizer of queries",
        "query/tokenizer_config.json": "its settings",
        "query/weights.npy": "the weight of each term in a query",
    },
}
"""Kind of artifact → file → what it is, beside `manifest.json`."""

_BASE = "name of the model, on the Hub or of its directory"
_CORPUS_COLUMNS = {
    "id_column": "column of the ids; null for `id`, or row numbers where there is none",
    "text_column": "column of the texts",
    "title_column": "column of the titles; null for `title`",
    "limit": "only the first rows, this many; null for all",
    "query": "SQL statement whose rows are the documents; null for a file",
    "skip_bad_rows": "whether bad rows were left out",
    "language": "language of stemming and stop words, as it was detected or given",
    "weighting": "version of how the weight of the legs is found and adapted to each query",
    "dense_map": "whether queries of dense mode are multiplied by the matrix in `dense_map.npy`",
    "words": "version of the analysis of words; absent is 1. An index is searched with the one it was built with",
}

CONFIG: dict[Kind, Descriptions] = {
    "model": {
        "base": _BASE,
        "int8": "whether 8-bit weights were requested; of an untuned model",
        "dimensions": "length to which `trainer base --dimensions` cut the vectors; absent where it did not",
        "matryoshka": "lengths at which a prefix of a vector is of use; absent where only whole vectors are",
        **_CORPUS_COLUMNS,
        "language": "`--language` of the run that tuned the model",
        "llm": "endpoint of the language model that wrote queries",
        "llm_model": "its name",
        "llm_path": "directory of the language model that wrote queries",
        "llm_prompt": "`chat` or `completion`, where it was given",
        "llm_documents": "most documents for which it wrote queries, where it was given",
        "teacher": "cross-encoder that taught the map; absent where there was none",
        "model": "model that the run tunes; null for the live one",
        "budget": "time that learning might take",
        "layers": "whether the encoder's own layers might be trained",
        "seed": "of all random numbers",
        "recipe": "version of the run's recipe",
        "tuned_from": "id of the model that it was tuned from",
        "map_of": "id of the model whose vectors `map.npy` takes",
        "hybrid": "whose vectors hybrid search has: `tuned`, or `base` where the map is for the queries of dense search only",
        "vectors_of": "id of the model whose documents these are, of a model of `trainer bridge`; absent for others",
        "queries_of": "id of the model that encodes the queries before the map, of such a model",
        "bridge": "how its map was learned: number of `pairs`, `penalty` of the regression, and the `judgement` of its queries: "
        "`better`, `worse` or `undecided`",
        "verdict": "WIN, TIE or LOSS",
        "compared_with": "id of the model that it was compared with",
        "judged_by": "`labels` or `synthetic queries`",
        "dense_weight": "weight of the dense leg with which an index of this model is searched",
        "relevance": "calibration of relevance that was fitted on labels, as in an index; absent where there were none, or too few",
        "query_precision": "weights of the encoder, `fp32` or `int8`, that encode queries",
        "query_encoder": "whether a small query encoder might be trained",
        "small_query_encoder": "`layers` of the full encoder that it was made of, number of short `texts` and `seconds` of its "
        "training, and `cosine`, its mean to the full one's vectors on texts left out; absent where there is none",
    },
    "index": _CORPUS_COLUMNS
    | {
        "ids": "where the ids came from",
        "precision": "weights of the encoder that made the vectors: `fp32` or `int8`",
        "query_precision": "the same for queries",
        "query_encoder": "encoder of the queries: `full`, the model's `small` one, or `bridge`, another model with a map; "
        "absent is `full`",
        "vectors_of": "id of the model whose vectors the documents have, where the index's own model differs in its queries only; "
        "absent where they are its own",
        "passages": "`split`, or `one` vector per document",
        "overlap_tokens": "tokens that neighbouring passages share, at most",
        "dense": "kind of the dense index",
        "dense_index": "kind that was `requested`, `target` of its recall, and `bytes_per_passage` that a search reads. Of a "
        "kind other than `flat` also number of `lists`; first `components` of a vector that codes are made of, and "
        "`requested_components`, each absent for all; effort of a search (`nprobe` or `efSearch`); `extra`, passages whose "
        "full vectors are compared beyond those asked for; `recall` of the 10 nearest, measured on `queries`; and its "
        "`curve` by effort; `changed`, share of vectors that are new since its lists were trained, where an earlier index "
        "was. Absent in indexes of earlier versions, which are `flat`",
        "fusion": "`method` of hybrid search, and the `dense_weight` that was given, tuned or estimated; with a "
        "learned-sparse leg also its `sparse_weight`",
        "weights_of": "index for which these weights were estimated; absent where that is this index, and where they were set",
        "relevance": "calibration of relevance: its `version`, whether it was `fitted_on` questions or labels, and for each of "
        "its `modes` the coefficients of two logistic regressions; null where there is none",
        "relevance_of": "index or model whose calibration it is; absent where it was made for this index",
        "candidates": "documents of each leg that hybrid search fuses",
        "labels": "classifier that added labels to the metadata, and the column that it filled",
        "search_columns": "columns whose words are fields of the lexical index, with their weights; absent for none",
        "exact_columns": "columns of which a value that equals the query puts its documents first; absent for none",
        "encode_columns": "columns of texts that stand in front of each passage that is encoded; absent for none",
        "synonyms": "SHA-256 of `synonyms.txt`; absent for none",
        "stop_words": "SHA-256 of `stop_words.txt`; absent for none",
        "sparse": "of an index with a learned-sparse leg: `terms`, most of them that a passage has",
        "folded": "number of the last live write in a compacted index",
        "set_aside": "numbers of live writes up to that one that fit no index and are kept in the log; absent for none",
        "folded_into": "fingerprint of the index that was built from the corpus before it was compacted",
    },
    "masked": {"base": _BASE},
    "classifier": {
        "name": "name of the directory that was published",
        "kind": "`fine-tuned` or `frozen encoder`",
        "base": "model that training started from",
        "training": "settings of the training",
    },
    "reranker": {
        "base": _BASE,
        "max_tokens": "longest input, query and passage together",
        "pad_token_id": "id of the token that fills up a batch",
        "verdict": "WIN, TIE or LOSS of re-ranked hybrid search; this and the fields below are absent where none was asked for",
        "judged_by": "`labels` or `synthetic queries`",
        "judged_with": "id of the model whose hybrid search was re-ranked; with another model the verdict does not count",
        "judged_on": "id of the index of the corpus",
        "top_n": "first results that are re-ranked",
        "budget_ms": "time limit of the re-ranking of a search in milliseconds",
        "weight": "weight of the cross-encoder's score against that of the first ranking",
    },
    "sparse": {"base": _BASE, "query_tokens": "longest query in tokens; null for any length"},
}
"""Kind of artifact → field of the manifest's `config` → what it is."""

COUNTS: dict[Kind, Descriptions] = {
    "model": {"parameters": "weights of the model"},
    "index": {
        "rows": "rows that were read",
        "documents": "documents in the index",
        "passages": "passages in the index",
        "rejected": "bad rows that were left out",
        "embedded": "passages that were encoded",
        "reused": "passages whose vectors were known",
    },
    "masked": {
        "parameters": "weights of the model",
        "layers": "layers",
        "heads": "attention heads of a layer",
        "vocabulary": "pieces of the tokenizer",
        "max_tokens": "longest input",
    },
    "classifier": {
        "labels": "labels",
        "train_rows": "rows that were trained on",
        "dev_rows": "rows that settings and calibration were chosen on",
        "test_rows": "rows that the report rests on",
    },
    "reranker": {"parameters": "weights of the model"},
    "sparse": {"parameters": "weights of the side of documents", "terms": "terms that a query may give a weight"},
}
"""Kind of artifact → count → what is counted."""

METRICS: dict[Kind, Descriptions] = {
    "model": {
        "parity_fp32": "smallest cosine between vectors of the ONNX graph and of sentence-transformers",
        "parity_int8": "the same for the graph with 8-bit weights",
        "base_dense_ndcg10": "nDCG@10 of dense search with the base model, on the queries that the verdict rests on",
        "base_hybrid_ndcg10": "the same of hybrid search",
        "dense_ndcg10": "nDCG@10 of dense search with the tuned model, on the same queries",
        "hybrid_ndcg10": "the same of hybrid search",
        "bridge_cosine": "mean cosine between new and old vectors of short texts that the map was not learned from; this and "
        "the next four are those of a model of `trainer bridge`",
        "old_queries_dense_ndcg10": "nDCG@10 of dense search with the old model's queries, on the questions that judge",
        "old_queries_hybrid_ndcg10": "the same of hybrid search",
        "new_queries_dense_ndcg10": "nDCG@10 of dense search with the new model's queries, on the same questions",
        "new_queries_hybrid_ndcg10": "the same of hybrid search",
    },
    "index": {
        "seconds": "time that the build took",
        "self_retrieval": "share of sampled documents whose first passage, encoded again, has its own vector in the index",
    },
    "masked": {
        "parity_probability": "largest difference of a probability between the ONNX graph and torch",
        "parity_attention": "the same of an attention weight",
        "parity_hidden": "smallest cosine between hidden states of both",
    },
    "classifier": {
        "macro_f1": "macro-F1 on the test rows",
        "accuracy": "share of test rows whose labels are all right",
        "majority_macro_f1": "macro-F1 of the most frequent label, given to every row",
        "calibration_error": "expected calibration error on the test rows",
    },
    "reranker": {
        "parity_score": "largest difference of a score between the ONNX graph and torch",
        "base_hybrid_ndcg10": "nDCG@10 of hybrid search on the queries of the verdict; this and the next two are absent "
        "without one",
        "hybrid_ndcg10": "the same with its first results re-ranked",
        "milliseconds": "time of the re-ranking of a search on one core of the machine that judged",
    },
    "sparse": {
        "parity_document": "largest difference of a term's weight in a document between the ONNX graph and torch",
        "parity_query": "the same of a query, between the table and torch",
    },
}
"""Kind of artifact → measure → what was measured while it was made."""

WRITE: Descriptions = {
    "sequence": "number of the write, from 1",
    "time": "of the write, ISO 8601, UTC",
    "recipe": "model whose vectors they are, precision, passages and overlap that decided the vectors",
    "deleted": "ids of the deleted documents",
    "documents": "the documents that were put: `id`, `title`, `text`, `metadata`, `passages` as pairs of character "
    "offsets, and `vectors` as base64 of little-endian float32. For an index with a learned-sparse leg also `sparse`: "
    "`offsets`, `terms` and `weights` of its vectors",
    "forgotten": "in place of the three fields before it: `through`, the number of the last write that is retracted, "
    "and `ids` of the documents, null for all. A document that was written later keeps that write",
}
"""Field of a line in the log of live writes → what it is."""

FEEDBACK: Descriptions = {
    "time": "of the feedback, ISO 8601, UTC",
    "query": "what was searched for",
    "document": "id of the result",
    "grade": "how well it answers, 0 to 3; null for a click",
    "generation": "generation of the index that answered",
    "rank": "rank of the result, from 1; null where the client did not say it",
}
"""Field of a line in `live/feedback.jsonl` → what it is."""

QUERY: Descriptions = {
    "time": "of the search, ISO 8601, UTC",
    "query": "what was searched for, redacted; null where no words are kept",
    "mode": "`hybrid`, `dense` or `lexical`",
    "results": "number of results on the first page",
    "relevance": "relevance of the first result; null where the index does not say it",
    "ms": "milliseconds of the search",
    "filtered": "whether the request had a filter",
    "tenant": "digest of the filter of the caller's key; null for callers who see all documents",
}
"""Field of a line in `live/queries/` → what it is."""
