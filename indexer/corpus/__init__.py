"""Read a corpus: rows of files or databases → checked documents.

formats/       formats of files: CSV, JSON, Parquet; compression and encodings
sql/           SQL databases as a corpus
values/        values of whole columns: conversion, and what no answer can hold
corpus.py      check every row, then stream documents; rejects
source.py      one reader over all formats: a file, folder, glob or SQL statement
chunks.py      bounded pieces of one file, bad rows apart
files.py       which files a path names
columns.py     which columns are id, title and text, and those of a flag
profile.py     types, missing and distinct values of all columns
names.py       what columns are often called
guess.py       what columns look like
inspect.py     table of columns, and the commands that take them
treatment.py   HTML of texts becomes text, texts with several values become lists
duplicates.py  ids that occur twice, in bounded memory
sample.py      sample corpus: documentation of the standard library
settings.py    flags that say how a corpus is read, shared by all commands
"""
