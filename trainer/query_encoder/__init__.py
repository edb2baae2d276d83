"""A small query encoder: a few layers of the full encoder, fitted to its vectors of short texts, without labels.

fit.py       texts → a fitted student, within a budget of time
student.py   the student: which layers stay, and what a regression puts between them
texts.py     short texts of a corpus
"""
