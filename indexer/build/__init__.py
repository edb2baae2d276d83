"""Build an index artifact from a corpus.

legs/                   codes of the dense leg, the learned-sparse leg, rules of the lexical one
build.py                corpus → published index; self-check
executors/              where passages are encoded: here, in several processes, on a Ray cluster
assemble.py             write documents, passages, vectors and words into a folder
vectors.py              vectors of an earlier index by the digest of a text, also mapped
space.py                a disk that will not suffice
weights/                how much each leg counts in hybrid search
relevance/              calibration of how probable it is that a result answers
share.py                a copy of an index for a model that differs in its queries only
create.py               an empty index
compact.py              fold live writes into a new index
settings.py             flags of `indexer build` and `indexer create`
"""
