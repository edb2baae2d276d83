"""Models that read the value of a column in a text, and what their answers are worth.

reader.py   what a reader is, and its answers kept on disk
tokens.py   token classifier (`--token-model`)
llm.py      language model behind an endpoint (`--llm`)
prompt.py   what it is asked
worth.py    answers → values, with a precision that is measured
learn.py    asks about rows whose value is known, and measures
fill.py     reads all rows with empty cells, and fills them
"""
