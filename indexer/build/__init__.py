"""From a corpus to an index artifact.

vectors.py       appended, resumed, reused, mapped
tables.py        the smaller Arrow files
compact.py       writes → a new index
assemble.py      the parts of an index
build.py         corpus → index
cloze.py         sentences taken out
dense_weight.py  the legs weighed by them
labels.py        labels of every document
"""
