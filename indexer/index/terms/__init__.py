"""From written words to the terms of a text and of a query.

analysis.py      what makes the terms of an index, by its version
words.py         terms of a text, however its words are written
vocabulary.py    words near a misspelt one
rules.py         synonyms and stop words of one's own
languages.py     language detection, stemmers, stop words
columns.py       columns and titles as fields of the lexical leg
column_names.py  the flag that weighs columns
tokens/          pieces of written words
"""
