"""Search routes.

routes.py           GET and POST /search
answering/          request → response with hits, scores, timings, highlights
record.py           searches for the query log
arrange.py          ranking → page: min_score, sort, re-ranking, diversity, groups
combine.py          which parts of a search go together
browse.py           documents without a query
boosts.py           scores raised or lowered by filters
filtering.py        filters and facets of a request
example_queries.py  GET /search/examples
batch.py            POST /search/batch
export.py           POST /search/export: CSV and JSON lines
suggest.py          GET /suggest
similar.py          documents like a document or like examples
rerank.py           cross-encoder over the first results
rerank_memory.py    outcomes of re-ranking, shared by all workers
schemas.py          requests and responses
"""
