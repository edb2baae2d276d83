"""An opened index artifact and its legs.

served.py         what a search needs of an index, in whatever store
index.py          documents, passages and legs, memory-mapped
restricted.py     view of some documents, for keys with filters
dense.py          dense leg: FAISS
lexical.py        lexical leg: BM25 in tantivy
sparse.py         learned-sparse leg: postings of terms
passage_search.py documents by their passages
legs.py           the legs as protocols
analysis.py       what makes the terms of an index, by its version
words.py          terms of a text, however its words are written
pieces.py         pieces of a written word, with their places
characters.py     characters that are one spelling, or none
languages.py      language detection, stemmers, stop words
arrow.py          rows and columns of memory-mapped Arrow tables
document_mask.py  which documents a search may return
"""
