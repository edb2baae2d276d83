"""`trainer reranker --judge`: hybrid search with and without a cross-encoder.

judge.py   publish a cross-encoder with its verdict
groups.py  groups of queries by which it is judged
"""
