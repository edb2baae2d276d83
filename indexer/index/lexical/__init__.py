"""The lexical leg of an index: BM25 over whole documents in tantivy, with stemming by language.

fields.py     the fields of the index, and its folder
writer.py     writes an index
analysed.py   words and terms by the analysis alone, whichever store has them
indexed.py    an opened index: its terms and their frequencies
search.py     search, scores, and where words stand in texts
spans.py      places of words in texts

Documents, not passages, are indexed: BM25 corrects for length itself, and words of a query often occur in another
passage than the answer. Every word is indexed twice, stemmed and as it is written: a document with the exact word of
the query scores higher than one with another form of it. `words.py` makes the terms, for an older index `analysis.py`.
"""
