"""Rankings, metrics, significance and the verdict.

rankings.py      one search, every weight
encode.py        many texts, with progress
metrics.py       nDCG, MRR, recall
significance.py  is it chance?
verdict.py       WIN, TIE or LOSS
groups.py        figures of a group
report.py        its fields
"""
