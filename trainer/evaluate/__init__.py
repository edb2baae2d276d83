"""Evaluation: rankings, metrics, significance, verdict.

rankings.py      rank all queries by the code that serves
encode.py        encode many texts with progress
metrics.py       nDCG@10, MRR@10, Recall@100
significance.py  bootstrap intervals, randomisation tests
cross_scores.py  cross-encoder scores of first results, journalled
reliability.py   probabilities beside the share that is right
groups.py        figures of a group of queries
verdict.py       WIN, TIE or LOSS
report.py        what report.json holds
"""
