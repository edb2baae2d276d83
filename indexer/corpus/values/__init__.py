"""Values of whole columns: conversion to the types of an index, and what no answer can hold.

convert.py       columns of Parquet files, converted as a whole
stored_types.py  types in which an index keeps columns
servable.py      values that no answer can hold
text_types.py    types of values that a file holds as text
lists.py         several values in one text
markup.py        HTML in texts
"""
