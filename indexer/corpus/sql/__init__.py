"""The rows of a database as a corpus.

source.py  a statement's rows
spool.py   kept as a file meanwhile
url.py     URLs without their secrets
types.py   types that hold for every row
"""
