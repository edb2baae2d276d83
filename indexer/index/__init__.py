"""An opened index and its two legs.

languages.py      detection, stems, stop words
dense.py          FAISS
lexical.py        tantivy
index.py          an opened index
arrow.py          rows and columns of a mapped file
document_mask.py  what a search may return
legs.py           The two legs of retrieval as protocols: what a search asks of the dens
"""
