"""Metadata that a build makes: labels of a classifier, and empty cells filled by what the rows with a value say.

grams.py      texts → runs of one to three words, as numbers
rules.py      decision list: run of words → value, with its precision
contexts.py   what stands where values stand: for values that no other row has
measure.py    precision and recall by cross-validation; how precise a rule must be that may fill
attribute.py  a column: what was learned of it, what a text says
fill.py       the corpus with its cells filled (`--extract`)
labels.py     --label-with: a classifier's answers as columns
"""
