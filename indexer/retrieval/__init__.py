"""From a query to ranked hits.

retriever.py   query → ranking
fusion.py      two legs → one ranking
ranking.py     candidates and hits
highlights.py  where a result answers
diversity.py   not the same again
spelling.py    did you mean?
rocchio.py     what examples mean
"""
