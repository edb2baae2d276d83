"""`trainer compare`: which of several models is the best base for a corpus, with or without labels.

compare.py      the command: compare, report, go live
sample.py       the documents that are encoded, and the labelled queries about them
questions.py    questions that are made from the sample, the same for all models
neighbours.py   questions in the words of a neighbour on which all models agree
candidate.py    a published model with its index of the sample, and what it costs
halving.py      rounds on ever larger samples, within a budget
measurement.py  sample, indexes, questions, rankings and costs of all candidates
measures.py     nDCG@10 of one model on each kind of question
choice.py       votes of the kinds of questions
decision.py     which model is chosen, and why
result.py       result as data, and as a table
page.py         result as a page
bridge/         `trainer bridge`: a new base's queries on the live index's vectors
"""
