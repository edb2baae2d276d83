"""Filter pairs and find hard negatives.

roundtrip.py   does a query find its document?
negatives.py   nearly the answer
candidates.py  where negatives come from
settings.py    Settings of `trainer filter` and `trainer negatives`
"""
