"""`trainer bridge`: try a new base's queries on the vectors of the live index, before the new base has an index.

bridge.py    the command: pairs, map, questions, a model and an index that are not live
pairs.py     texts with a vector of each model
artifact.py  the model: documents as before, queries by the new model and the map
questions.py questions about the index, with and without labels
exam.py      old and new queries on the same vectors, and which are better
"""
