"""Search routes.

routes.py           GET and POST /search
answer.py           request → response with hits, scores, timings, highlights
record.py           searches for the query log
arrange.py          ranking → page: min_score, re-ranking, diversity, groups
filtering.py        filters and facets of a request
example_queries.py  GET /search/examples
batch.py            POST /search/batch
similar.py          documents like a document or like examples
rerank.py           cross-encoder over the first results
rerank_memory.py    outcomes of re-ranking, shared by all workers
schemas.py          requests and responses
"""
