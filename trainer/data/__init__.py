"""Training data: labels, splits, frames, pairs.

labels.py           queries and qrels, split into train, dev, test
label_rows.py       rows of their files
trec.py             qrels in TREC's format
feedback.py         clicks and grades as labels
split.py            documents into train, dev, test
near_duplicates.py  MinHash groups
clusters.py         queries that share a document
words.py            sentences and words in any script
prepare.py          corpus → training frame
frame.py            read and fill the training frame
segments.py         long texts in pieces
pairs.py            query-document pairs
settings.py         flags of `trainer prepare` and `trainer split`
"""
