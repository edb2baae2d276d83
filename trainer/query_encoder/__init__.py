"""A small query encoder: the full encoder with fewer neurons, fitted to its vectors of short texts, without labels.

fit.py           texts → a fitted student, within a budget of time
student.py       the student: the full encoder, its layers pruned one after another
feed_forward.py  the parts of a layer that lose neurons: how they are found, and which neurons stay
texts.py         short texts of a corpus
"""
