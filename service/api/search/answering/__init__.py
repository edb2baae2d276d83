"""From a request to its response.

answer.py    one search, with a query or without
ranked.py    all candidates of a query, with boosts and re-ranking
results.py   results of a page, and the fields that every response has
"""
