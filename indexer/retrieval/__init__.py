"""Retrieval: query → ranked hits.

retriever.py        all legs, all candidates scored, best passages
ranking.py          candidates of a query and hits of a page
fusion.py           scores of the legs → one: convex combination or RRF
query_weight.py     weight of the dense leg, adapted to each query
relevance.py        probability that a result answers
reranking.py        scores of a cross-encoder, mixed
diversity.py        maximal marginal relevance
rocchio.py          query vector from examples
highlights.py       nearest sentence of a passage
spelling.py         «did you mean»
expansion.py        words half typed or misspelt
synonyms.py         synonyms and stop words of a query
completion.py       titles that complete what is typed
example_queries.py  queries that find their own document first
"""
