"""Rows, labels and pairs to learn from.

split.py            train, dev, test by document
near_duplicates.py  stay together
prepare.py          corpus → training frame
frame.py            read and filled
segments.py         long texts in pieces
pairs.py            query and document
words.py            sentences and words of any script
labels.py           queries and their answers
feedback.py         clicks and grades → labels
settings.py         Settings of `trainer prepare` and `trainer split`: the only place wher
"""
