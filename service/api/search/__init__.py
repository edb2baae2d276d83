"""Search routes.

routes.py         GET and POST /search
answer.py         request → response with hits, scores, timings, highlights
arrange.py        ranking → page: min_score, re-ranking, diversity, groups
filtering.py      filters and facets of a request
batch.py          POST /search/batch
suggest.py        GET /suggest
similar.py        documents like a document or like examples
rerank.py         cross-encoder over the first results
rerank_memory.py  outcomes of re-ranking, shared by all workers
schemas.py        requests and responses
"""
