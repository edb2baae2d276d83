"""`trainer reranker --judge`: hybrid search with and without a cross-encoder, and with the live one.

judge.py         publish a cross-encoder with its verdict
groups.py        groups of queries by which it is judged
scored.py        their orders by the scores of a cross-encoder
against_live.py  comparison with the live one, where that re-ranks by default
"""
