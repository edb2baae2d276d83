"""Query filtering and hard negatives.

coverage.py    documents that deserve written queries
roundtrip.py   keep queries that find their document
negatives.py   mine hard negatives with teacher scores
candidates.py  candidate texts; cross-encoder teacher
settings.py    flags
"""
