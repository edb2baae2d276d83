"""An opened index artifact and its legs.

served.py         what a search needs of an index, in whatever store
index.py          documents, passages and legs, memory-mapped
restricted.py     view of some documents, for keys with filters
dense.py          dense leg that compares full vectors: FAISS
flat_file.py      the file of an exact FAISS index, in blocks and by rows
approximate/      dense leg that finds passages by codes
lexical.py        lexical leg: BM25 in tantivy
sparse.py         learned-sparse leg: postings of terms
passage_search.py documents by their passages
legs.py           the legs as protocols
analysis.py       what makes the terms of an index, by its version
words.py          terms of a text, however its words are written
vocabulary.py     words near a misspelt one
rules.py          synonyms and stop words of one's own
columns.py        columns and titles as fields of the lexical leg
column_names.py   the flags that name columns
exact.py          documents whose id or value equals the query
tokens/           pieces of written words
languages.py      language detection, stemmers, stop words
arrow.py          rows and columns of memory-mapped Arrow tables
document_mask.py  which documents a search may return
"""
