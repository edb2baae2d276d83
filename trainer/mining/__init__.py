"""Filter pairs and find hard negatives.

roundtrip.py   does a query find its document?
negatives.py   nearly the answer
candidates.py  where negatives come from
teachers.py    cross-encoders
"""
