"""What a run has brought: comparison, calibration, summary.

comparison.py  base against tuned on test queries
summary.py     report of a run
relevance.py   calibration of relevance, and how reliable it is
"""
