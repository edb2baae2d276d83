"""Documents written while an index is served.

log.py               write-ahead log: append, read on, fold
write.py             one line of the log; compaction of writes
prepare.py           passages and vectors of new documents; writes over an index
overlay.py           snapshot of live documents; LiveIndex
legs.py              dense and lexical leg over index and live documents
sparse.py            learned-sparse leg over both
bm25.py              BM25 of live documents with the index's statistics
metadata.py          JSON metadata → column types
inspect.py           what a service would set aside or not show
export.py            documents of an index and its live writes, as a corpus
forget.py            retract writes, so that the index's own version shows
feedback.py          clicks and grades, one line each
query_log.py         what was searched for
query_statistics.py  counts of it
"""
