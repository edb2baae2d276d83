"""Calibration of relevance: how probable it is that a result answers, learned when an index is built.

choose.py            as fitted on labels, an earlier index's, or fitted anew
questions.py         queries that the index answers, and queries that it does not, made without labels
general_queries.txt  short queries of many domains and languages, which hardly any corpus answers
observe.py           queries → features of their first results, and which of these are right
fit.py               features → coefficients of the two logistic regressions, with AUC and calibration error
"""
