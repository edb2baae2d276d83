"""Filters and facets: conditions on metadata → document mask, counts, order.

filter.py      tree of conditions, as a request holds it
conditions.py  operators: eq, in, gte, exists, prefix, within
fields.py      field names → columns; errors for unknown fields
values.py      JSON values → Arrow scalars, bounds without rounding
bind.py        conditions resolved against the schema
leaves.py      values within lists and structs, and their documents
encoded.py     columns as small numbers, kept with the index
evaluate.py    bound conditions → document mask, cached
facets.py      counts of values and ranges
sort.py        sort keys: fields, distance from a point
ordering.py    sort keys → documents in order
grouping.py    first documents of each value
boost.py       filters with weights that scores are raised by
found.py       all documents that a query finds
"""
