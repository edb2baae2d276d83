"""An opened index artifact and its legs.

terms/            terms of texts and queries: analysis, languages, vocabulary, synonyms, columns
served.py         what a search needs of an index, in whatever store
index.py          documents, passages and legs, memory-mapped
restricted.py     view of some documents, for keys with filters
dense.py          dense leg that compares full vectors: FAISS
flat_file.py      the file of an exact FAISS index, in blocks and by rows
approximate/      dense leg that finds passages by codes
lexical/          lexical leg: BM25 in tantivy
sparse.py         learned-sparse leg: postings of terms
passage_search.py documents by their passages
legs.py           the legs as protocols
exact.py          documents whose id or value equals the query
arrow.py          rows and columns of memory-mapped Arrow tables
document_mask.py  which documents a search may return
"""
