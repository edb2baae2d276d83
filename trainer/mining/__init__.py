"""Query filtering and hard negatives.

roundtrip.py   keep queries that find their document
negatives.py   mine hard negatives with teacher scores
candidates.py  candidate texts; cross-encoder teacher
settings.py    flags
"""
