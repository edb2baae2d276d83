"""Search, batches of searches, similarity.

routes.py     thin
filtering.py  filters and facets of a request
arrange.py    from a ranking to a page
highlight.py  words and sentences marked
schemas.py    what is asked of results
batch.py      many searches at once
similar.py    documents like examples
rerank.py     the first results once more
"""
