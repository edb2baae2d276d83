"""Milvus as a store of served indexes: a cluster, a server or a file behind one client.

filtering/      filters, facets and orders as expressions and queries of Milvus
settings.py     where the store is
engine.py       connection, time limits, and errors as reasons
fields.py       metadata as Milvus fields, and values of conditions
terms.py        weights of a document's terms, as BM25 has them
collections.py  collections of an index: names, fields, numbers
payload.py      title, text and metadata of a document as text
about.py        what a replica has to know of an index
publish.py      an index artifact into its collections, and the alias to them
recall.py       recall of passages in lists, measured; effort of a search
lexical.py      BM25 leg
index.py        an index that is searched in Milvus
open.py         the one that the alias names
"""
