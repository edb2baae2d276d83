"""SQL databases as a corpus.

source.py  rows of one statement, by a server-side cursor
odd_values.py  what drivers return where Python has no value
spool.py   rows kept as a Parquet file while they are used
types.py   types of database drivers → Arrow
url.py     database URLs, shown without their secrets
"""
