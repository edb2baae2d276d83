"""Weights of the legs in hybrid search.

choose.py         as set, as the model was tuned with, an earlier index's, or estimated
dense_weight.py   weight of the dense leg, found without labels
sparse_weight.py  weight of the learned-sparse leg, kept only where questions show a gain
"""
