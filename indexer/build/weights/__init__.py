"""Weights of the legs in hybrid search, and the questions without labels by which they are found.

choose.py               as set, as the model was tuned with, an earlier index's, or estimated
dense_weight.py         weight of the dense leg, found without labels
sparse_weight.py        weight of the learned-sparse leg, kept only where questions show a gain
inverse_cloze.py        queries without labels: sentences taken out of documents
neighbour_questions.py  questions without labels: a sentence asks for the neighbours of its document
"""
