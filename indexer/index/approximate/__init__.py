"""Dense indexes that find passages by codes in place of full vectors.

leg.py    dense leg that finds passages by codes, and scores them by their full vectors
codes.py  the codes: scanned, in lists, or in a graph
kinds.py  kinds of dense indexes, and which one an index gets
"""
