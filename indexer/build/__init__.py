"""Build an index artifact from a corpus.

build.py                corpus → published index; self-check
executors/              where passages are encoded: here, in several processes, on a Ray cluster
assemble.py             write documents, passages, vectors and words into a folder
vectors.py              vectors of an earlier index by the digest of a text, also mapped
space.py                a disk that will not suffice
weights/                how much each leg counts in hybrid search
relevance/              calibration of how probable it is that a result answers
dense_codes.py          codes of an approximate dense index, trained and written
recall.py               recall of such an index, measured; effort of a search
sparse.py               learned-sparse leg: vectors on disk, postings in parts
words.py                searched and exact columns checked; files of rules copied
share.py                a copy of an index for a model that differs in its queries only
create.py               an empty index
compact.py              fold live writes into a new index
settings.py             flags of `indexer build` and `indexer create`
"""
