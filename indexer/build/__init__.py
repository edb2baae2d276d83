"""From a corpus to an index artifact.

vectors.py        appended, resumed, reused, mapped
compact.py        writes → a new index
assemble.py       the parts of an index
build.py          corpus → index
dense_weight.py   the legs weighed by them
labels.py         labels of every document
inverse_cloze.py  Queries without labels: sentences taken out of their documents
settings.py       Settings of `indexer build`: the only place where a name, a default an
"""
