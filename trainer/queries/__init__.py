"""Queries for documents without labels.

generate.py   five for every row
extract.py    without a model
summary.py    what became of every row
synthetic.py  questions without labels
settings.py   Settings of `trainer queries`
"""
