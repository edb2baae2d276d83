"""What a build writes for the legs beside vectors and words as they are.

dense_codes.py  codes of an approximate dense index, trained and written
recall.py       recall of such an index, measured; effort of a search
sparse.py       learned-sparse leg: vectors on disk, postings in parts
words.py        searched and exact columns checked; files of rules copied
"""
