"""Retrieval: query → ranked hits.

retriever.py   both legs, all candidates scored, best passages
ranking.py     candidates of a query and hits of a page
fusion.py      two scores → one: convex combination or RRF
reranking.py   scores of a cross-encoder, mixed
diversity.py   maximal marginal relevance
rocchio.py     query vector from examples
highlights.py  nearest sentence of a passage
spelling.py    «did you mean»
"""
