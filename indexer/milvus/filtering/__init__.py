"""Filters, facets and orders in Milvus.

arranging.py   values and rows for sorting, browsing and boosts
expression.py  filter expressions with bound values
facets.py      counts of values
filter.py      filter tree → expression
selection.py   the documents that pass one
"""
