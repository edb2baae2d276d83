"""Queries for documents without labels.

llm/          Queries written by a language model
generate.py   queries for every row of a frame
extract.py    titles, key phrases and sentences
synthetic.py  test queries about held-out documents
summary.py    rows by outcome, dropped queries
settings.py   flags
"""
