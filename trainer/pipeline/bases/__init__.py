"""`trainer compare`: which of several models is the best base for a corpus, with or without labels.

compare.py     candidates → questions → votes → choice
sample.py      the documents that are encoded, and the labelled queries about them
questions.py   questions that are made from the sample, the same for all models
neighbours.py  questions in the words of a neighbour on which all models agree
candidate.py   a published model with its index of the sample, and what it costs
measures.py    nDCG@10 of each model on each kind of question
choice.py      votes of the kinds, and the decision
result.py      result as data, as a table and as a page
"""
