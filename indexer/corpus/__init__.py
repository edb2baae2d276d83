"""From files and databases to checked documents.

corpus.py      the check, then the documents
columns.py     which column is what
source.py      files and databases, one reader
chunks.py      bounded pieces of any format
parquet.py     one format each
csv.py         one format each
jsonl.py       one format each
duplicates.py  ids that were there before
sample.py      Python's documentation as a corpus
settings.py    Settings that say how a corpus is read: each field once, for every com
"""
