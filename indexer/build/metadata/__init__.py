"""Metadata that a build makes: labels of a classifier, and empty cells filled by what the rows with a value or a model say.

settings.py   flags of `--extract`
columns.py    metadata as columns: types, more of them, other values
sample.py     what is learned from, and what fills cells
grams.py      texts → runs of one to three words, as numbers
rules.py      decision list: run of words → value, with its precision
contexts.py   what stands where values stand: for values that no other row has
measure.py    precision and recall by cross-validation; how precise a rule must be that may fill
attribute.py  a column: what was learned of it, what a text says
fill.py       the corpus with its cells filled (`--extract`)
readers       models that read the texts (`--token-model`, `--llm`)
labels.py     --label-with: a classifier's answers as columns
"""
