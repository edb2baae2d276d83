"""From conditions on metadata to a mask of documents.

filter.py      trees of conditions
conditions.py  what is said of a field
fields.py      where its values lie
values.py      JSON → Arrow's values
evaluate.py    conditions → masks
facets.py      counts of a field
bind.py        Binding: the fields and values of a filter resolved against the column
"""
